import { readHostFacts } from '../../templates/input.ts';
import { KUBECONFIGS, planKubeconfig } from '../../templates/kubeconfig.ts';
import {
  hasLocalEtcd,
  MANIFESTS,
  manifestPath,
  renderManifest,
} from '../../templates/manifests/manifests.ts';
import { readPatches } from '../../templates/patches.ts';
import type { Phase } from '../workflow/phase.ts';
import { readCaBundle } from './files.ts';
import { type InitContext, pkiContext } from './init-context.ts';

/** A phase for each kubeconfig file. */
export const KUBECONFIG_PHASES: readonly Phase<InitContext>[] = KUBECONFIGS.map((row) => ({
  name: `kubeconfig/${row.name}`,
  summary: 'Generate kubeconfig files',
  after: ['certs/ca'],
  async plan(context) {
    const { certificatesDir, algorithm, certificateValidityMs, now } = pkiContext(context);
    const certPem = await readCaBundle(context.host, certificatesDir);
    const keyPem = await context.host.readFile(`${certificatesDir}/ca.key`);
    return planKubeconfig(row, {
      host: context.host,
      input: context.config,
      ca: keyPem === undefined ? { certPem } : { certPem, keyPem },
      algorithm,
      certificateValidityMs,
      now,
      warn: context.warn,
    });
  },
}));

/** A phase for each static pod; the agent starts what it finds. */
export const CONTROL_PLANE_PHASES: readonly Phase<InitContext>[] = MANIFESTS.map((row) => ({
  name: row.phase,
  summary: row.name === 'etcd' ? 'Write the etcd manifest' : 'Write control plane manifests',
  after: ['certs', 'kubeconfig'],
  async plan({ config, host, env }) {
    if (row.name === 'etcd' && !hasLocalEtcd(config)) return [];
    const { certificatesDir } = config.cluster;
    const [facts, patches] = await Promise.all([
      readHostFacts(host, { certificatesDir, env }),
      readPatches(host, config.patchesDirectory),
    ]);
    const content = renderManifest(row, config, facts, patches);
    const path = manifestPath(row);
    return (await host.readFile(path)) === content
      ? []
      : [{ kind: 'write-file', path, mode: 0o600, content }];
  },
}));
