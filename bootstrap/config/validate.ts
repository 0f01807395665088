import { KEY_ALGORITHMS } from '../../pki/keys.ts';
import { cidrContains, formatCidr, parseIp } from '../../runtime/base/cidr.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';
import { parseSubnets } from './network.ts';
import type { Checker } from './problems.ts';
import {
  checkAbsolutePath,
  checkCertSans,
  checkComponent,
  checkEndpoint,
  checkImageTag,
  checkOneOf,
  checkRepository,
} from './rules.ts';
import type {
  ClusterConfiguration,
  ConfigKind,
  ConfigOfKind,
  InitConfig,
  TkadmConfiguration,
} from './types.ts';
import { validateAgentArguments, validateControlPlaneArguments } from './validate-arguments.ts';
import { validateComponents } from './validate-components.ts';
import { validateEtcd } from './validate-etcd.ts';
import { validateFeatureGates } from './validate-gates.ts';
import { validateJoin } from './validate-join.ts';
import { validateNetworking } from './validate-network.ts';
import {
  validateCertificateKey,
  validateLocalEndpoint,
  validateNode,
  validatePatches,
  validateTimeouts,
} from './validate-node.ts';
import { validateReset } from './validate-reset.ts';
import { validateTokens } from './validate-tokens.ts';
import { validateUpgrade } from './validate-upgrade.ts';
import { isVersionLabel } from './version-labels.ts';

const DAY_MS = 24 * 3_600_000;
/** How many days certificates may last without a warning. */
const VALIDITY_DAYS = { certificateValidityPeriod: 365, caCertificateValidityPeriod: 3650 } as const;
/** Oldest minor version that the images of the upstream engine are deployed in. */
const MIN_MINOR = 35;
const OWN_MINOR = Number(KUBERNETES_VERSION.split('.')[1]);
const VERSION = /^v1\.(\d+)\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;

/** Checks a complete configuration; problems and warnings go to `check`. */
export function validateConfig(config: ConfigOfKind[ConfigKind], check: Checker): void {
  const own = check.of(config.kind);
  validateTkadm(config.tkadm, check.of('TkadmConfiguration'));
  validateTimeouts(config.timeouts, own);
  validatePatches(config.patchesDirectory, own);
  switch (config.kind) {
    case 'InitConfiguration':
      validateInit(config, check);
      break;
    case 'JoinConfiguration':
      validateJoin(config, own);
      break;
    case 'ResetConfiguration':
      validateReset(config, own);
      break;
    case 'UpgradeConfiguration':
      validateUpgrade(config, own);
  }
}

function validateInit(config: InitConfig, check: Checker): void {
  const own = check.of('InitConfiguration');
  validateNode(config.nodeRegistration, own);
  validateAgentArguments(config.nodeRegistration, config.tkadm, own);
  validateLocalEndpoint(config.localAPIEndpoint, 'localAPIEndpoint', own);
  validateAddressPlan(config, own);
  validateTokens(config.bootstrapTokens, own);
  validateCertificateKey(config.certificateKey, 'certificateKey', own);
  validateClusterConfig(config.cluster, config.tkadm, check);
  validateComponents(config, check);
  if (config.tkadm.engine === 'embedded') refuseIpv6(config, check);
}

/** The API server's address is of the Services' first family and in none of the cluster's own ranges. */
function validateAddressPlan({ localAPIEndpoint, cluster }: InitConfig, check: Checker): void {
  const path = 'localAPIEndpoint.advertiseAddress';
  const text = localAPIEndpoint.advertiseAddress;
  const ip = parseIp(text);
  if (!ip) return;
  const [first] = parseSubnets(cluster.networking.serviceSubnet);
  if (first && first.family !== ip.family) {
    check.invalid(
      path,
      text,
      `it is no IPv${first.family} address, but networking.serviceSubnet begins with one`,
    );
  }
  for (const name of ['serviceSubnet', 'podSubnet'] as const) {
    const inside = parseSubnets(cluster.networking[name]).find((cidr) => cidrContains(cidr, ip));
    if (inside) check.invalid(path, text, `it lies in networking.${name} ${formatCidr(inside)}`);
  }
}

/** Agent, pod network, proxy and DNS of the embedded engine know IPv4 alone. */
function refuseIpv6({ localAPIEndpoint, cluster }: InitConfig, check: Checker): void {
  const { podSubnet = '', serviceSubnet } = cluster.networking;
  const rows = [
    ['InitConfiguration', 'localAPIEndpoint.advertiseAddress', localAPIEndpoint.advertiseAddress],
    ['ClusterConfiguration', 'networking.podSubnet', podSubnet],
    ['ClusterConfiguration', 'networking.serviceSubnet', serviceSubnet],
  ] as const;
  for (const [document, path, value] of rows) {
    if (value.includes(':')) {
      check.of(document).invalid(path, value, 'the embedded engine does not support IPv6');
    }
  }
}

/** Checks a ClusterConfiguration; problems and warnings go to `checker`. */
export function validateClusterConfig(
  cluster: ClusterConfiguration,
  tkadm: TkadmConfiguration,
  checker: Checker,
): void {
  const check = checker.of('ClusterConfiguration');
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
  for (const name of ['apiServer', 'controllerManager', 'scheduler'] as const) {
    checkComponent(check, name, cluster[name]);
  }
  validateControlPlaneArguments(cluster, tkadm, check);
  validateEtcd(cluster.etcd, tkadm, check);
  if (cluster.dns.imageRepository) checkRepository(check, 'dns.imageRepository', cluster.dns.imageRepository);
  if (cluster.dns.imageTag) checkImageTag(check, 'dns.imageTag', cluster.dns.imageTag);
  validateFeatureGates(cluster, check);
  const algorithms = KEY_ALGORITHMS.map((row) => row.name);
  checkOneOf(check, 'encryptionAlgorithm', cluster.encryptionAlgorithm, algorithms);
  validateValidity(cluster, check);
}

function validateTkadm(tkadm: TkadmConfiguration, check: Checker): void {
  checkOneOf(check, 'engine', tkadm.engine, ['embedded', 'upstream']);
  checkOneOf(check, 'store', tkadm.store, ['embedded', 'etcd']);
  checkRepository(check, 'imageRepository', tkadm.imageRepository);
  if (tkadm.engine === 'upstream' && tkadm.store === 'embedded') {
    check.invalid('store', tkadm.store, 'the upstream engine keeps its objects in etcd');
  }
}

function validateVersion(version: string, tkadm: TkadmConfiguration, check: Checker): void {
  const path = 'kubernetesVersion';
  const minor = Number(VERSION.exec(version)?.[1]);
  if (isVersionLabel(version)) {
    check.invalid(
      path,
      version,
      `labels are not looked up in the network; write the version itself, like "${KUBERNETES_VERSION}"`,
    );
  } else if (Number.isNaN(minor)) {
    check.invalid(path, version, `write it like "${KUBERNETES_VERSION}"`);
  } else if (tkadm.engine === 'embedded' && version !== KUBERNETES_VERSION) {
    check.invalid(
      path,
      version,
      `the embedded engine serves ${KUBERNETES_VERSION} alone; write that or leave the field out`,
    );
  } else if (!isDeployable(version)) {
    check.invalid(path, version, `this version deploys 1.${MIN_MINOR} to 1.${OWN_MINOR}`);
  }
}

/** True for a version whose control plane this package deploys: its own minor version or the one before. */
export function isDeployable(version: string): boolean {
  const minor = Number(VERSION.exec(version)?.[1]);
  return minor >= MIN_MINOR && minor <= OWN_MINOR;
}

function validateValidity(cluster: ClusterConfiguration, check: Checker): void {
  for (const name of ['certificateValidityPeriod', 'caCertificateValidityPeriod'] as const) {
    const periodMs = parseDuration(cluster[name]);
    const days = VALIDITY_DAYS[name];
    if (periodMs <= 0) check.invalid(name, cluster[name], 'it must be more than 0');
    else if (periodMs > days * DAY_MS) check.warn(name, `${cluster[name]} is longer than ${days} days`);
  }
  const [leaf, ca] = [cluster.certificateValidityPeriod, cluster.caCertificateValidityPeriod];
  if (parseDuration(leaf) > parseDuration(ca)) {
    check.warn('certificateValidityPeriod', `${leaf} is longer than the ${ca} of the CA that signs`);
  }
}
