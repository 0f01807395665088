import { join } from 'node:path';
import type { AgentPod } from './pod.ts';

/** Where a pod's files lie, in the kubelet's layout. */
export interface PodPaths {
  /** "/var/lib/kubelet/pods/<uid>" */
  readonly pod: string;
  readonly hosts: string;
  readonly volumes: string;
  /** "/var/log/pods/<ns>_<name>_<uid>" */
  readonly logs: string;
}

export function podPaths(
  pod: AgentPod,
  roots: { readonly rootDir: string; readonly podLogsDir: string },
): PodPaths {
  const { name, namespace, uid } = pod.metadata;
  const directory = join(roots.rootDir, 'pods', uid);
  return {
    pod: directory,
    hosts: join(directory, 'etc-hosts'),
    volumes: join(directory, 'volumes'),
    logs: join(roots.podLogsDir, `${namespace}_${name}_${uid}`),
  };
}

/** The directory of a volume: "<pod>/volumes/kubernetes.io~<plugin>/<name>". */
export function volumePath(paths: PodPaths, plugin: string, name: string): string {
  return join(paths.volumes, `kubernetes.io~${plugin}`, name);
}
