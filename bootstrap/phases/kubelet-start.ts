import { hostname } from 'node:os';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { buildKubeletFiles, type KubeletFile } from '../../templates/kubelet-files.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import type { InitContext } from './init-context.ts';
import { planService } from './node-services.ts';

/** Writes the agent's configuration and starts it; an agent whose files change is started anew. */
export const kubeletStartPhase: Phase<InitContext> = {
  name: 'kubelet-start',
  summary: 'Start the node agent',
  after: ['runtime', 'control-plane', 'etcd'],
  async plan({ config, host, patches }) {
    const files = buildKubeletFiles({
      nodeRegistration: config.nodeRegistration,
      kubelet: config.kubelet,
      hostname: hostname(),
      isWorker: false,
      nodeIp: config.localAPIEndpoint.advertiseAddress,
      patches: await patches(),
    });
    return planAgent(host, files);
  },
};

/** The agent's files that differ, and its start, or restart when one does. */
export async function planAgent(host: Host, files: readonly KubeletFile[]): Promise<readonly Action[]> {
  const changed: KubeletFile[] = [];
  for (const file of files) if ((await host.readFile(file.path)) !== file.content) changed.push(file);
  const start = await planService(host, 'tkadm-agent');
  const isRunning = start.length === 0;
  return [
    ...((await host.stat(PATHS.manifests))
      ? []
      : [{ kind: 'make-directory', path: PATHS.manifests, mode: 0o700 } as const]),
    ...changed,
    ...(isRunning && changed.length > 0
      ? ([
          { kind: 'stop-service', name: 'tkadm-agent' },
          { kind: 'start-service', name: 'tkadm-agent' },
        ] as const)
      : start),
  ];
}
