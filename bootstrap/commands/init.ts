import { randomBytes } from 'node:crypto';
import { generateCertificateKey } from '../../pki/certificate-secret.ts';
import { SECRETS } from '../../runtime/api/kinds.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { VERSION } from '../../runtime/base/version.ts';
import { readBundleId, readCurrentBundleId } from '../../runtime/host/bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { localServer } from '../../templates/kubeconfig.ts';
import { hasLocalEtcd } from '../../templates/manifests/manifests.ts';
import { loadConfiguration } from '../config/load.ts';
import type { InitConfig } from '../config/types.ts';
import { createPatchReader } from '../phases/files.ts';
import { INIT_PHASES } from '../phases/init.ts';
import { uploadCertsPhase } from '../phases/upload-certs.ts';
import { formatDryRunEnd } from '../render/count.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { readTokenSecret, type TokenInfo } from '../tokens/token.ts';
import { type Observation, observe } from '../workflow/observe.ts';
import { groupOf, isSelected } from '../workflow/phase.ts';
import { bundleSources } from './bundle-sources.ts';
import { loadCertsConfig } from './certs-config.ts';
import { type CliContext, programName, readInput } from './context.ts';
import { describeCertificateKey, describeCluster } from './init-result.ts';
import { observeMachine } from './machine.ts';
import { collectOverrides } from './overrides.ts';
import { requireRootUnlessDry } from './require-root.ts';
import { runCommandPhases } from './run.ts';

export interface InitOptions {
  readonly config?: string;
  readonly fix?: boolean;
  readonly apiserverAdvertiseAddress?: string;
  readonly output: OutputFormat;
  readonly skipTokenPrint?: boolean;
  readonly uploadCerts?: boolean;
  readonly certificateKey?: string;
  readonly certDir?: string;
  readonly dryRun?: boolean;
  readonly skipCertificateKeyPrint?: boolean;
  /** Of `init phase`: "certs/ca", or the group "certs". */
  readonly onlyPhase?: string;
  /** Of some phases: how to reach the cluster. */
  readonly kubeconfig?: string;
  /** Of kubeconfig phases: where the files go. */
  readonly kubeconfigDir?: string;
  /** Of add-on phases: print the objects, do nothing else. */
  readonly printManifest?: boolean;
}

/** Groups of phases that only write files, and so are there for every engine. */
const FILE_GROUPS: readonly string[] = ['certs', 'kubeconfig', 'etcd', 'control-plane'];

/** `tkadm init`: makes this machine a one-node cluster. */
export async function runInit(context: CliContext, options: InitOptions): Promise<void> {
  const host = createLocalHost();
  const { config, warnings } = await loadInitConfig(context, host, options);
  if (options.printManifest) {
    const { printAddonManifests } = await import('./print-manifest.ts');
    return printAddonManifests(context, { config, host, phase: options.onlyPhase ?? 'addon' });
  }
  checkEngine(config, options.onlyPhase);
  if (config.tkadm.engine === 'embedded' && !isFilePhase(options.onlyPhase))
    await refuseOtherPackage(context, host);
  const certificateKey = selectCertificateKey(config, options);
  const shownKey = options.skipCertificateKeyPrint || config.isDryRun ? undefined : certificateKey;
  const initSystem = await detectInitSystem(host);
  const kubeconfig = options.kubeconfig ?? `${PATHS.kubernetes}/admin.conf`;
  await runCommandPhases({
    command: 'init',
    cli: context,
    host,
    phases: INIT_PHASES,
    output: options.output,
    skip: config.skipPhases,
    only: options.onlyPhase === undefined ? undefined : [options.onlyPhase],
    isDryRun: config.isDryRun,
    kubeconfig,
    superKubeconfig: `${PATHS.kubernetes}/super-admin.conf`,
    // The stable address of the control plane may lead nowhere yet.
    server: options.kubeconfig === undefined ? localServer(config) : undefined,
    buildContext: (tools) => {
      for (const warning of warnings) tools.warn(warning);
      const need = {
        isDryRun: config.isDryRun,
        ignored: config.nodeRegistration.ignorePreflightErrors,
        onlyPhase: options.onlyPhase,
      };
      requireRootUnlessDry(context, need, tools.warn);
      return {
        ...tools,
        config,
        now: context.now,
        shouldFix: options.fix ?? false,
        isAddressGiven: options.apiserverAdvertiseAddress !== undefined,
        initSystem,
        env: context.env,
        certificateKey,
        tokens: () => listTokens(tools.observation),
        patches: createPatchReader(tools.host, config.patchesDirectory, tools.warn),
        kubeconfigDir: options.kubeconfigDir,
      };
    },
    finish: async ({ observation, changes }) => {
      if (config.isDryRun) return describeDryRun(changes);
      const key = describeCertificateKey(shownKey);
      const isCluster =
        isSelected('show-join-command', [options.onlyPhase ?? 'show-join-command']) &&
        !isSelected('show-join-command', config.skipPhases);
      if (!isCluster) return { text: key.text, data: { changes, ...key.data } };
      const cluster = await describeCluster(config, {
        host,
        changes,
        tokens: await listTokens(observation),
        now: context.now(),
        certificateKey: shownKey,
        hidesToken: options.skipTokenPrint ?? false,
        program: programName(context),
      });
      return { text: cluster.text + key.text, data: { ...cluster.data, ...key.data } };
    },
  });
}

async function loadInitConfig(context: CliContext, host: Host, options: InitOptions) {
  if (options.onlyPhase === uploadCertsPhase.name && options.config === undefined) {
    return { config: await loadUploadConfig(context, host, options), warnings: [] };
  }
  const text = options.config === undefined ? undefined : await readInput(context, options.config);
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text,
    path: options.config,
    isStrict: false,
    overrides: collectOverrides('InitConfiguration', options as unknown as Record<string, unknown>),
    defaultsFrom: await observeMachine(host),
  });
  return { config: withoutSkippedAddons(config), warnings };
}

/** Which files there are to upload, only the cluster knows: those of an external etcd may lie anywhere. */
async function loadUploadConfig(context: CliContext, host: Host, options: InitOptions): Promise<InitConfig> {
  const { config, certificatesDir } = await loadCertsConfig(context, host, options);
  const { certificateKey = config.certificateKey, dryRun = false } = options;
  return {
    ...config,
    cluster: { ...config.cluster, certificatesDir },
    isDryRun: dryRun,
    ...(certificateKey === undefined ? {} : { certificateKey }),
  };
}

/** An add-on that is left out is not part of the cluster: its configuration says so too, for later runs. */
function withoutSkippedAddons(config: InitConfig): InitConfig {
  const { cluster, skipPhases } = config;
  const isSkipped = (name: string) => isSelected(name, skipPhases);
  return {
    ...config,
    cluster: {
      ...cluster,
      dns: isSkipped('addon/coredns') ? { ...cluster.dns, disabled: true } : cluster.dns,
      proxy: isSkipped('addon/kube-proxy') ? { disabled: true } : cluster.proxy,
    },
  };
}

/** @throws UNSUPPORTED for what this package does not hold */
export function checkEngine({ tkadm, cluster }: InitConfig, onlyPhase: string | undefined): void {
  if (onlyPhase !== undefined && FILE_GROUPS.includes(groupOf(onlyPhase))) return;
  if (tkadm.engine !== 'embedded') {
    throw new TkadmError('UNSUPPORTED', `Cannot init with engine "${tkadm.engine}": it is not there yet`, {
      hint: `Phases that write files work with every engine: ${FILE_GROUPS.join(', ')}`,
    });
  }
  if (hasLocalEtcd({ cluster, tkadm })) {
    throw new TkadmError('UNSUPPORTED', 'Cannot init with an etcd of its own: none is part of this package', {
      hint: 'Name the members of an etcd cluster in etcd.external of the ClusterConfiguration',
    });
  }
}

/** Certificates and kubeconfigs do not depend on the programs; manifests do. */
function isFilePhase(onlyPhase: string | undefined): boolean {
  return onlyPhase !== undefined && ['preflight', 'certs', 'kubeconfig'].includes(groupOf(onlyPhase));
}

/**
 * A cluster that another package has made is upgraded by its own command, step by step.
 * @throws UPGRADE_NEEDED
 */
async function refuseOtherPackage(context: CliContext, host: Host): Promise<void> {
  if (!(await context.fileExists(`${PATHS.manifests}/kube-apiserver.yaml`))) return;
  const [current, own] = [await readCurrentBundleId(), await readBundleId(host, bundleSources(context))];
  if (current === undefined || current === own) return;
  const release = await host.readFile(`${PATHS.bundle}/${current}/rootfs/etc/os-release`);
  const version = /^VERSION_ID=(.*)$/m.exec(release ?? '')?.[1] ?? 'another version';
  throw new TkadmError(
    'UPGRADE_NEEDED',
    `Cannot init: this machine runs tkadm ${version} (node bundle ${current}), and this is tkadm ${VERSION} (${own})`,
    {
      hint: `${programName(context)} upgrade apply; or, for a new cluster, first: ${programName(context)} reset`,
    },
  );
}

function describeDryRun(changes: number) {
  return { text: formatDryRunEnd(changes), data: { changes, dryRun: true } };
}

/** The key of a run that uploads the certificates. */
function selectCertificateKey(config: InitConfig, options: InitOptions): string | undefined {
  const { name } = uploadCertsPhase;
  const isUploading =
    options.uploadCerts === true &&
    isSelected(name, [options.onlyPhase ?? name]) &&
    !isSelected(name, config.skipPhases);
  return isUploading ? (config.certificateKey ?? generateCertificateKey(randomBytes)) : undefined;
}

async function listTokens(observation: Observation): Promise<readonly TokenInfo[]> {
  const fieldSelector = 'type=bootstrap.kubernetes.io/token';
  const secrets = await observe(observation, (api) =>
    api.list(SECRETS, { namespace: 'kube-system', fieldSelector }),
  );
  return secrets?.items.flatMap((secret) => readTokenSecret(secret) ?? []) ?? [];
}
