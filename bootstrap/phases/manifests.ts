import { PATHS } from '../../runtime/base/paths.ts';
import { readHostFacts } from '../../templates/input.ts';
import { KUBECONFIGS, planKubeconfig } from '../../templates/kubeconfig.ts';
import {
  hasLocalEtcd,
  MANIFESTS,
  manifestPath,
  renderManifest,
} from '../../templates/manifests/manifests.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { whyNoEtcd } from './certs.ts';
import { readCaBundle } from './files.ts';
import { refuseOtherNetwork } from './fixed-arguments.ts';
import { type InitContext, pkiContext } from './init-context.ts';

/** A phase for each kubeconfig file. */
export const KUBECONFIG_PHASES: readonly Phase<InitContext>[] = KUBECONFIGS.map((row) => ({
  name: `kubeconfig/${row.name}`,
  summary: 'Generate kubeconfig files',
  after: ['certs/ca'],
  async plan(context) {
    const { certificatesDir, algorithm, searches, certificateValidityMs, now } = pkiContext(context);
    const certPem = await readCaBundle(context.host, certificatesDir);
    const keyPem = await context.host.readFile(`${certificatesDir}/ca.key`);
    return planKubeconfig(row, {
      host: context.host,
      input: context.config,
      ca: keyPem === undefined ? { certPem } : { certPem, keyPem },
      algorithm,
      searches,
      certificateValidityMs,
      now,
      warn: context.warn,
      ...(context.kubeconfigDir ? { directory: context.kubeconfigDir } : {}),
    });
  },
}));

/** A phase for each static pod; the agent starts what it finds. */
export const CONTROL_PLANE_PHASES: readonly Phase<InitContext>[] = MANIFESTS.map((row) => ({
  name: row.phase,
  summary: row.name === 'etcd' ? 'Write the etcd manifest' : 'Write control plane manifests',
  after: ['certs', 'kubeconfig'],
  idle: (context) => (row.name === 'etcd' && !hasLocalEtcd(context.config) ? whyNoEtcd(context) : undefined),
  async plan({ config, host, env, ...context }) {
    await refuseOtherNetwork(host, config);
    const { certificatesDir } = config.cluster;
    const bundleId = await context.bundleId?.();
    const [facts, patches] = await Promise.all([
      readHostFacts(host, { certificatesDir, env, bundleId }),
      context.patches(),
    ]);
    const content = renderManifest(row, config, facts, patches);
    const path = manifestPath(row);
    const isThere = (await host.readFile(path)) === content;
    const dataDir = row.name === 'etcd' ? [config.cluster.etcd.local!.dataDir] : [];
    return [
      ...(await planPrivateDirectories(host, [...dataDir, PATHS.manifests])),
      ...(isThere ? [] : [{ kind: 'write-file', path, mode: 0o600, content } as const]),
    ];
  },
}));

async function planPrivateDirectories(
  host: InitContext['host'],
  paths: readonly string[],
): Promise<readonly Action[]> {
  const actions: Action[] = [];
  for (const path of paths) {
    if (!(await host.stat(path))) actions.push({ kind: 'make-directory', path, mode: 0o700 });
  }
  return actions;
}
