import { cniAddresses } from './cni.ts';
import type { PodSandbox, PodSandboxConfig, PodSandboxStatus } from './messages/sandbox.ts';
import type { SandboxRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';

/** True while the pause container runs and nobody stopped the sandbox. */
export function isSandboxReady(context: RuntimeContext, record: SandboxRecord): boolean {
  return record.isReady && context.engine.status(record.id)?.state === 'running';
}

/** The answer of PodSandboxStatus. */
export function buildSandboxStatus(context: RuntimeContext, record: SandboxRecord): PodSandboxStatus {
  const { config } = record;
  const options = config.linux?.securityContext?.namespaceOptions;
  const [ip = '', ...others] = cniAddresses(record.network?.result);
  return {
    id: record.id,
    metadata: config.metadata,
    state: isSandboxReady(context, record) ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY',
    createdAt: BigInt(record.createdAt),
    network: { ip, additionalIps: others.map((other) => ({ ip: other })) },
    linux: options === undefined ? undefined : { namespaces: { options } },
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler: record.runtimeHandler,
  };
}

/** The row of ListPodSandbox. */
export function buildSandbox(context: RuntimeContext, record: SandboxRecord): PodSandbox {
  const { id, metadata, state, createdAt, labels, annotations, runtimeHandler } = buildSandboxStatus(
    context,
    record,
  );
  return { id, metadata, state, createdAt, labels, annotations, runtimeHandler };
}

/** What makes a sandbox unique (CRI PodSandboxMetadata). */
export function sandboxName({ metadata }: PodSandboxConfig): string {
  const { namespace = '', name = '', uid = '', attempt = 0 } = metadata ?? {};
  return `sandbox "${namespace}/${name}", uid "${uid}", attempt ${attempt}`;
}

/** The records of a sandbox's containers. */
export function containersOf(context: RuntimeContext, sandboxId: string) {
  return context.containers.list().filter((container) => container.sandboxId === sandboxId);
}
