import type { CriProbe } from '../../preflight/finding.ts';
import type { CriClient } from '../../runtime/cri/client.ts';

const CALL_TIMEOUT_MS = 3_000;
const PULL_TIMEOUT_MS = 10 * 60_000;

/** Asks the container runtime behind a socket of this machine, over CRI v1. gRPC is loaded at the first question. */
export function createCriProbe(socketPath: string): CriProbe {
  const options = { timeoutMs: CALL_TIMEOUT_MS };
  let opened: Promise<CriClient> | undefined;
  const open = () => {
    opened ??= import('../../runtime/cri/client.ts').then(({ createCriClient }) =>
      createCriClient(socketPath),
    );
    return opened;
  };
  return {
    async status() {
      const { status } = await (await open()).status({}, options);
      const ready = status?.conditions?.find((row) => row.type === 'RuntimeReady');
      return {
        isReady: ready?.status === true,
        reason: ready
          ? `RuntimeReady is false: ${ready.reason} ${ready.message}`
          : 'it tells no RuntimeReady',
      };
    },
    async version() {
      const { runtimeName, runtimeVersion } = await (await open()).version({}, options);
      return { name: runtimeName, version: runtimeVersion };
    },
    cgroupDriver: async () => readCgroupDriver(await open()),
    async sandboxImage() {
      const { info } = await (await open()).status({ verbose: true }, options);
      return parseSandboxImage(info?.['config'] ?? '');
    },
    async hasImage(name) {
      return (await (await open()).imageStatus({ image: { image: name } }, options)).image !== undefined;
    },
    async pullImage(name) {
      await (await open()).pullImage({ image: { image: name } }, { timeoutMs: PULL_TIMEOUT_MS });
    },
    close() {
      void opened?.then((client) => client.close());
    },
  };
}

/** `sandboxImage` of containerd 1's configuration, or `pinnedImages.sandbox` of containerd 2's. */
function parseSandboxImage(json: string): string | undefined {
  try {
    const config = JSON.parse(json) as { sandboxImage?: string; pinnedImages?: { sandbox?: string } };
    return config.sandboxImage || config.pinnedImages?.sandbox || undefined;
  } catch {
    return undefined;
  }
}

async function readCgroupDriver(client: CriClient): Promise<'systemd' | 'cgroupfs' | undefined> {
  const { criErrorCode } = await import('../../runtime/cri/client.ts');
  try {
    const { linux } = await client.runtimeConfig({}, { timeoutMs: CALL_TIMEOUT_MS });
    return linux?.cgroupDriver === 'CGROUPFS' ? 'cgroupfs' : 'systemd';
  } catch (error) {
    if (criErrorCode(error) === 'UNIMPLEMENTED') return undefined;
    throw error;
  }
}
