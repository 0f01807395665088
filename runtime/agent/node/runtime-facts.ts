import { formatError } from '../../base/errors.ts';
import type { CriClient } from '../../cri/client.ts';
import type { NodeImage, RuntimeFacts } from './node-object.ts';

const TIMEOUT_MS = 5000;

/** The runtime's version and readiness; a runtime that does not answer is one that is not ready. */
export async function readRuntimeFacts(cri: CriClient): Promise<RuntimeFacts> {
  try {
    const options = { timeoutMs: TIMEOUT_MS };
    const [version, { status, runtimeHandlers, features }] = await Promise.all([
      cri.version({}, options),
      cri.status({}, options),
    ]);
    const runtime = status?.conditions.find(({ type }) => type === 'RuntimeReady');
    const network = status?.conditions.find(({ type }) => type === 'NetworkReady');
    const faults = [
      runtime?.status ? undefined : `container runtime not ready: ${runtime?.message ?? 'no condition'}`,
      network?.status
        ? undefined
        : `container runtime network not ready: NetworkReady=false reason:${network?.reason ?? ''} message:${network?.message ?? ''}`,
    ];
    return {
      version: `${version.runtimeName}://${version.runtimeVersion}`,
      isReady: runtime?.status ?? false,
      isNetworkReady: network?.status ?? false,
      message: faults.filter((fault) => fault !== undefined).join('; '),
      handlers: runtimeHandlers.map((handler) => ({
        name: handler.name,
        features: {
          recursiveReadOnlyMounts: handler.features?.recursiveReadOnlyMounts ?? false,
          userNamespaces: handler.features?.userNamespaces ?? false,
        },
      })),
      hasSupplementalGroupsPolicy: features?.supplementalGroupsPolicy ?? false,
    };
  } catch (error) {
    return {
      version: 'unknown://unknown',
      isReady: false,
      isNetworkReady: false,
      message: `container runtime is down: ${formatError(error)}`,
      handlers: [],
      hasSupplementalGroupsPolicy: false,
    };
  }
}

/** The runtime's images for the Node's status; [] when it does not answer. */
export async function readImages(cri: CriClient): Promise<NodeImage[]> {
  try {
    const { images } = await cri.listImages({}, { timeoutMs: TIMEOUT_MS });
    return images.map(({ repoTags, repoDigests, size }) => ({
      names: [...repoDigests, ...repoTags].slice(0, 5),
      sizeBytes: Number(size),
    }));
  } catch {
    return [];
  }
}
