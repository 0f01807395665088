import { KEY_ALGORITHMS } from '../../pki/keys.ts';
import { parseIp } from '../../runtime/base/cidr.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';
import { describeBadPin } from '../tokens/pin.ts';
import { isToken, TOKEN_GROUP_PATTERN, TOKEN_USAGES } from '../tokens/token.ts';
import type { Checker } from './problems.ts';
import {
  checkAbsolutePath,
  checkArgs,
  checkCertSans,
  checkComponent,
  checkEndpoint,
  checkEnvs,
  checkOneOf,
  checkPort,
  checkRepository,
  checkSubdomain,
  checkTaints,
} from './rules.ts';
import type {
  BootstrapTokenConfig,
  ClusterConfiguration,
  ConfigKind,
  ConfigOfKind,
  InitConfig,
  JoinConfig,
  LocalApiEndpoint,
  NodeRegistration,
  ResetConfig,
  TkadmConfiguration,
} from './types.ts';
import { validateNetworking } from './validate-network.ts';

const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const UNMOUNT_FLAGS = ['MNT_FORCE', 'MNT_DETACH', 'MNT_EXPIRE', 'UMOUNT_NOFOLLOW'];
const CERTIFICATE_KEY_PATTERN = /^[0-9a-fA-F]{64}$/;
const YEAR_MS = 365 * 24 * 3_600_000;
/** Oldest minor version that the images of the upstream engine are deployed in. */
const MIN_MINOR = 35;

/** Feature gates of kubeadm 1.36: what may be set, and what each means here. */
const FEATURE_GATES: Readonly<Record<string, 'locked' | 'deprecated' | 'unsupported'>> = {
  NodeLocalCRISocket: 'locked',
  PublicKeysECDSA: 'deprecated',
  RootlessControlPlane: 'unsupported',
};

/** Checks a complete configuration; problems and warnings go to `check`. */
export function validateConfig(config: ConfigOfKind[ConfigKind], check: Checker): void {
  switch (config.kind) {
    case 'InitConfiguration':
      validateInit(config, check);
      break;
    case 'JoinConfiguration':
      validateJoin(config, check);
      break;
    case 'ResetConfiguration':
      validateReset(config, check);
      break;
    case 'UpgradeConfiguration':
      validateTkadm(config.tkadm, check);
  }
}

function validateInit(config: InitConfig, check: Checker): void {
  validateTkadm(config.tkadm, check);
  validateNode(config.nodeRegistration, check);
  validateLocalEndpoint(config.localAPIEndpoint, 'localAPIEndpoint', check);
  for (const [i, token] of config.bootstrapTokens.entries()) {
    validateToken(token, `bootstrapTokens[${i}]`, check);
  }
  validateCertificateKey(config.certificateKey, 'certificateKey', check);
  validatePatches(config.patchesDirectory, check);
  validateClusterConfig(config.cluster, config.tkadm, check);
  if (config.tkadm.engine === 'embedded') refuseIpv6(config, check);
}

/** Agent, pod network, proxy and DNS of the embedded engine know IPv4 alone. */
function refuseIpv6({ localAPIEndpoint, cluster }: InitConfig, check: Checker): void {
  const { podSubnet = '', serviceSubnet } = cluster.networking;
  const rows = [
    ['localAPIEndpoint.advertiseAddress', localAPIEndpoint.advertiseAddress],
    ['networking.podSubnet', podSubnet],
    ['networking.serviceSubnet', serviceSubnet],
  ] as const;
  for (const [path, value] of rows) {
    if (value.includes(':')) check.invalid(path, value, 'the embedded engine does not support IPv6');
  }
}

/** Checks a ClusterConfiguration; problems and warnings go to `check`. */
export function validateClusterConfig(
  cluster: ClusterConfiguration,
  tkadm: TkadmConfiguration,
  check: Checker,
): void {
  validateVersion(cluster.kubernetesVersion, tkadm, check);
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(cluster.clusterName)) {
    check.invalid('clusterName', cluster.clusterName, 'lower-case letters, digits, "-" and "." alone');
  }
  if (cluster.controlPlaneEndpoint !== undefined) {
    checkEndpoint(check, 'controlPlaneEndpoint', cluster.controlPlaneEndpoint);
  }
  checkAbsolutePath(check, 'certificatesDir', cluster.certificatesDir);
  checkRepository(check, 'imageRepository', cluster.imageRepository);
  validateNetworking(cluster, check);
  checkCertSans(check, 'apiServer.certSANs', cluster.apiServer.certSANs);
  checkComponent(check, 'apiServer', cluster.apiServer);
  checkComponent(check, 'controllerManager', cluster.controllerManager);
  checkComponent(check, 'scheduler', cluster.scheduler);
  validateEtcd(cluster.etcd, tkadm, check);
  if (cluster.dns.imageRepository) checkRepository(check, 'dns.imageRepository', cluster.dns.imageRepository);
  validateFeatureGates(cluster.featureGates, check);
  const algorithms = KEY_ALGORITHMS.map((row) => row.name);
  checkOneOf(check, 'encryptionAlgorithm', cluster.encryptionAlgorithm, algorithms);
  validateValidity(cluster, check);
}

function validateTkadm(tkadm: TkadmConfiguration, check: Checker): void {
  checkRepository(check, 'imageRepository', tkadm.imageRepository);
  if (tkadm.engine === 'upstream' && tkadm.store === 'embedded') {
    check.invalid('store', tkadm.store, 'the upstream engine keeps its objects in etcd');
  }
  if (tkadm.engine === 'embedded' && tkadm.store === 'etcd') {
    check.invalid(
      'store',
      tkadm.store,
      'the embedded API server does not support etcd; engine "upstream" does',
    );
  }
}

function validateVersion(version: string, tkadm: TkadmConfiguration, check: Checker): void {
  const path = 'kubernetesVersion';
  const match = /^v1\.(\d+)\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/.exec(version);
  if (!match) {
    check.invalid(
      path,
      version,
      `write it like "${KUBERNETES_VERSION}"; labels are not looked up in the network`,
    );
    return;
  }
  const ownMinor = Number(KUBERNETES_VERSION.split('.')[1]);
  const minor = Number(match[1]);
  if (tkadm.engine === 'embedded' && version !== KUBERNETES_VERSION) {
    check.invalid(
      path,
      version,
      `the embedded engine serves ${KUBERNETES_VERSION}; engine "upstream" runs others`,
    );
  } else if (minor < MIN_MINOR || minor > ownMinor) {
    check.invalid(path, version, `this version deploys 1.${MIN_MINOR} to 1.${ownMinor}`);
  }
}

function validateNode(node: NodeRegistration, check: Checker): void {
  checkSubdomain(check, 'nodeRegistration.name', node.name);
  if (!/^unix:\/\/\/.+/.test(node.criSocket)) {
    check.invalid(
      'nodeRegistration.criSocket',
      node.criSocket,
      'write it like "unix:///run/tkadm/runtime.sock"',
    );
  }
  checkTaints(check, 'nodeRegistration.taints', node.taints);
  checkArgs(check, 'nodeRegistration.kubeletExtraArgs', node.kubeletExtraArgs);
  checkOneOf(check, 'nodeRegistration.imagePullPolicy', node.imagePullPolicy, PULL_POLICIES);
  validateIgnored(node.ignorePreflightErrors, 'nodeRegistration.ignorePreflightErrors', check);
}

function validateIgnored(names: readonly string[], path: string, check: Checker): void {
  const hasAll = names.some((name) => name.toLowerCase() === 'all');
  if (hasAll && names.length > 1) check.invalid(path, names, '"all" must stand alone');
}

function validateLocalEndpoint(endpoint: LocalApiEndpoint, path: string, check: Checker): void {
  checkPort(check, `${path}.bindPort`, endpoint.bindPort);
  const field = `${path}.advertiseAddress`;
  const ip = parseIp(endpoint.advertiseAddress);
  if (!ip) {
    check.invalid(
      field,
      endpoint.advertiseAddress,
      'it is no IP address; --apiserver-advertise-address sets it',
    );
  } else if (ip.value === 0n) {
    check.invalid(field, endpoint.advertiseAddress, 'nodes cannot reach the unspecified address');
  } else if (ip.family === 4 ? ip.value >> 28n === 14n : ip.value >> 120n === 255n) {
    check.invalid(field, endpoint.advertiseAddress, 'it is a multicast address');
  } else if (ip.family === 4 ? ip.value >> 24n === 127n : ip.value === 1n) {
    check.warn(field, `"${endpoint.advertiseAddress}" is reached from this machine alone`);
  }
}

function validateToken(token: BootstrapTokenConfig, path: string, check: Checker): void {
  validateTokenText(token.token, `${path}.token`, check);
  for (const [i, usage] of token.usages.entries())
    checkOneOf(check, `${path}.usages[${i}]`, usage, TOKEN_USAGES);
  for (const [i, group] of token.groups.entries()) {
    if (!TOKEN_GROUP_PATTERN.test(group)) {
      check.invalid(`${path}.groups[${i}]`, group, `it must match ${TOKEN_GROUP_PATTERN.source}`);
    }
  }
  if (token.groups.length > 0 && !token.usages.includes('authentication')) {
    check.invalid(`${path}.groups`, token.groups, 'groups need the usage "authentication"');
  }
  if (token.ttl !== undefined && token.expires !== undefined) {
    check.invalid(`${path}.ttl`, token.ttl, '"ttl" and "expires" exclude each other');
  }
  if (token.ttl !== undefined && parseDuration(token.ttl) < 0) {
    check.invalid(`${path}.ttl`, token.ttl, 'it must not be negative; "0s" means for ever');
  }
  if (token.expires !== undefined && Number.isNaN(Date.parse(token.expires))) {
    check.invalid(`${path}.expires`, token.expires, 'write it like "2026-12-31T23:59:59Z"');
  }
}

/** Never shows the token: it is a secret. */
function validateTokenText(text: string, path: string, check: Checker): void {
  if (text === '') check.required(path, 'a token of the form "abcdef.0123456789abcdef"');
  else if (!isToken(text)) {
    check.invalid(
      path,
      undefined,
      'it has not the form "abcdef.0123456789abcdef" ([a-z0-9]{6}.[a-z0-9]{16})',
    );
  }
}

function validateCertificateKey(key: string | undefined, path: string, check: Checker): void {
  if (key === undefined || CERTIFICATE_KEY_PATTERN.test(key)) return;
  check.invalid(path, undefined, 'it must be 32 bytes in hexadecimal: 64 digits');
}

function validatePatches(directory: string | undefined, check: Checker): void {
  if (directory !== undefined) checkAbsolutePath(check, 'patches.directory', directory);
}

function validateFeatureGates(gates: Readonly<Record<string, boolean>>, check: Checker): void {
  for (const [name, isOn] of Object.entries(gates)) {
    const path = `featureGates.${name}`;
    switch (FEATURE_GATES[name]) {
      case undefined:
        check.invalid(path, isOn, `no such gate; known are ${Object.keys(FEATURE_GATES).join(', ')}`);
        break;
      case 'locked':
        if (!isOn) check.invalid(path, isOn, 'it is locked to true');
        break;
      case 'deprecated':
        if (isOn) check.invalid(path, isOn, 'it is deprecated; write encryptionAlgorithm: ECDSA-P256');
        break;
      case 'unsupported':
        if (isOn) check.invalid(path, isOn, 'it is not supported');
        break;
    }
  }
}

function validateValidity(cluster: ClusterConfiguration, check: Checker): void {
  for (const [name, years] of [
    ['certificateValidityPeriod', 1],
    ['caCertificateValidityPeriod', 10],
  ] as const) {
    const periodMs = parseDuration(cluster[name]);
    if (periodMs <= 0) check.invalid(name, cluster[name], 'it must be more than 0');
    else if (periodMs > years * YEAR_MS)
      check.warn(name, `${cluster[name]} is longer than ${years * 365} days`);
  }
}

function validateEtcd(etcd: ClusterConfiguration['etcd'], tkadm: TkadmConfiguration, check: Checker): void {
  const { local, external } = etcd;
  if (local && external) check.invalid('etcd', undefined, '"local" and "external" exclude each other');
  if (local) {
    checkAbsolutePath(check, 'etcd.local.dataDir', local.dataDir);
    checkArgs(check, 'etcd.local.extraArgs', local.extraArgs);
    checkEnvs(check, 'etcd.local.extraEnvs', local.extraEnvs);
    checkCertSans(check, 'etcd.local.serverCertSANs', local.serverCertSANs);
    checkCertSans(check, 'etcd.local.peerCertSANs', local.peerCertSANs);
    if (local.imageRepository) checkRepository(check, 'etcd.local.imageRepository', local.imageRepository);
  }
  if (external) validateExternalEtcd(external, tkadm, check);
}

function validateExternalEtcd(
  external: NonNullable<ClusterConfiguration['etcd']['external']>,
  tkadm: TkadmConfiguration,
  check: Checker,
): void {
  const path = 'etcd.external';
  if (tkadm.store === 'embedded')
    check.forbidden(path, 'the embedded store is in use; engine "upstream" uses etcd');
  const { endpoints, httpEndpoints = [], caFile, certFile, keyFile } = external;
  const hasCertificates = certFile !== '' || keyFile !== '' || caFile !== '';
  if (endpoints.length === 0) check.required(`${path}.endpoints`, 'at least one endpoint');
  for (const [name, list] of Object.entries({ endpoints, httpEndpoints })) {
    for (const [i, endpoint] of list.entries()) {
      const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
      const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
      if (!url || !isHttp || url.host === '') {
        check.invalid(`${path}.${name}[${i}]`, endpoint, 'write it like "https://10.0.0.1:2379"');
      } else if (hasCertificates && url.protocol !== 'https:' && name === 'endpoints') {
        check.invalid(`${path}.${name}[${i}]`, endpoint, 'with certificates it must be an https URL');
      }
    }
  }
  if ((certFile === '') !== (keyFile === '')) {
    check.invalid(
      certFile === '' ? `${path}.certFile` : `${path}.keyFile`,
      '',
      'certFile and keyFile come together',
    );
  }
  for (const [name, file] of Object.entries({ caFile, certFile, keyFile })) {
    if (file !== '') checkAbsolutePath(check, `${path}.${name}`, file);
  }
}

function validateJoin(config: JoinConfig, check: Checker): void {
  validateTkadm(config.tkadm, check);
  validateNode(config.nodeRegistration, check);
  checkAbsolutePath(check, 'caCertPath', config.caCertPath);
  if (!config.caCertPath.endsWith('.crt'))
    check.invalid('caCertPath', config.caCertPath, 'it must end with ".crt"');
  validateDiscovery(config.discovery, check);
  validatePatches(config.patchesDirectory, check);
  if (!config.controlPlane) return;
  validateLocalEndpoint(config.controlPlane.localAPIEndpoint, 'controlPlane.localAPIEndpoint', check);
  validateCertificateKey(config.controlPlane.certificateKey, 'controlPlane.certificateKey', check);
}

function validateDiscovery(discovery: JoinConfig['discovery'], check: Checker): void {
  const { bootstrapToken, file, tlsBootstrapToken } = discovery;
  if (!bootstrapToken && !file) {
    check.required('discovery', 'one of "bootstrapToken" (--token and the API server\'s address) and "file"');
    return;
  }
  if (bootstrapToken && file) {
    check.invalid('discovery', undefined, '"bootstrapToken" and "file" exclude each other');
  }
  if (tlsBootstrapToken) validateTokenText(tlsBootstrapToken, 'discovery.tlsBootstrapToken', check);
  if (file && !/^(\/|https:\/\/)/.test(file.kubeConfigPath)) {
    check.invalid(
      'discovery.file.kubeConfigPath',
      file.kubeConfigPath,
      'write an absolute path or an https URL',
    );
  }
  if (!bootstrapToken) return;
  const path = 'discovery.bootstrapToken';
  validateTokenText(bootstrapToken.token, `${path}.token`, check);
  if (bootstrapToken.apiServerEndpoint === '') {
    check.required(`${path}.apiServerEndpoint`, "the API server's address, host:port");
  } else checkEndpoint(check, `${path}.apiServerEndpoint`, bootstrapToken.apiServerEndpoint, true);
  if (bootstrapToken.caCertHashes.length === 0 && !bootstrapToken.unsafeSkipCAVerification) {
    check.required(`${path}.caCertHashes`, 'a pin "sha256:HEX", or unsafeSkipCAVerification: true');
  }
  for (const [i, pin] of bootstrapToken.caCertHashes.entries()) {
    const state = describeBadPin(pin);
    if (state) check.invalid(`${path}.caCertHashes[${i}]`, pin, state);
  }
}

function validateReset(config: ResetConfig, check: Checker): void {
  if (config.certificatesDir !== undefined)
    checkAbsolutePath(check, 'certificatesDir', config.certificatesDir);
  validateIgnored(config.ignorePreflightErrors, 'ignorePreflightErrors', check);
  for (const [i, flag] of config.unmountFlags.entries()) {
    checkOneOf(check, `unmountFlags[${i}]`, flag, UNMOUNT_FLAGS);
  }
}
