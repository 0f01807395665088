import { mkdir, readFile } from 'node:fs/promises';
import { RUNTIME_CLASSES } from '../api/kinds.ts';
import { TkadmError } from '../base/errors.ts';
import { writeFileAtomic } from '../base/files.ts';
import { podEventTarget } from './container-starter.ts';
import { buildDnsSettings } from './dns.ts';
import type { AgentPod } from './pod.ts';
import type { PodPaths } from './pod-paths.ts';
import type { PodServices } from './pod-services.ts';
import type { SandboxState } from './runtime-state.ts';
import { buildHostsFile, buildSandboxConfig } from './sandbox-config.ts';
import { claimIdRange } from './user-namespaces.ts';

/** A pod and where its files are on the node. */
export interface PodPlace {
  readonly pod: AgentPod;
  readonly paths: PodPaths;
}

/** Makes the pod's sandbox; a failure is told as an event. @throws CRI_CALL, AGENT_OBJECT_MISSING */
export async function createSandbox(
  services: PodServices,
  place: PodPlace,
  attempt: number,
): Promise<SandboxState> {
  const { cri, reader, recorder, shareCpu } = services;
  const { pod, paths } = place;
  await mkdir(paths.logs, { recursive: true, mode: 0o755 });
  const config = await describeSandbox(services, place, attempt);
  try {
    const runtimeHandler = await findRuntimeHandler(services, pod);
    await cri.runPodSandbox({ config, runtimeHandler });
    await shareCpu();
  } catch (error) {
    recorder.record(podEventTarget(pod), {
      type: 'Warning',
      reason: 'FailedCreatePodSandBox',
      message: `Failed to create pod sandbox: ${(error as Error).message}`,
    });
    throw error;
  }
  const { sandboxes } = await reader.readPod(pod.metadata.uid);
  if (sandboxes[0]) return sandboxes[0];
  throw new TkadmError('AGENT_CONTAINER_CONFIG', 'Cannot find the sandbox that was just made');
}

/** The CRI description of the pod's sandbox, as the node is now. */
export async function describeSandbox(services: PodServices, { pod, paths }: PodPlace, attempt: number) {
  const { config, hostname, hostDns } = services;
  const { clusterDns, clusterDomain, podPidsLimit } = config;
  return buildSandboxConfig(pod, {
    attempt,
    dns: buildDnsSettings(pod, { clusterDns, clusterDomain, host: await hostDns() }),
    logDirectory: paths.logs,
    nodeHostname: hostname,
    clusterDomain,
    podPidsLimit,
    idRange: claimIdRange(pod, paths.pod),
  });
}

async function findRuntimeHandler({ link }: PodServices, pod: AgentPod): Promise<string> {
  const name = pod.spec.runtimeClassName;
  if (!name) return '';
  const found = await link.requireClient().find(RUNTIME_CLASSES, { name });
  if (!found) throw new TkadmError('AGENT_OBJECT_MISSING', `RuntimeClass "${name}" not found`);
  return found.handler;
}

/** Writes the pod's /etc/hosts. */
export async function writeHosts(
  { config }: PodServices,
  { pod, paths }: PodPlace,
  ips: readonly string[],
): Promise<void> {
  const hostFile = pod.spec.hostNetwork ? await readFile('/etc/hosts', 'utf8').catch(() => '') : '';
  const text = buildHostsFile(pod, { ips, clusterDomain: config.clusterDomain, hostFile });
  await writeFileAtomic(paths.hosts, text, { sync: false });
}
