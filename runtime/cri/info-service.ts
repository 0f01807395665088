import { formatError } from '../base/errors.ts';
import { VERSION } from '../base/version.ts';
import { buildContainerStatus } from './container-status.ts';
import type { CriHandlers } from './handlers.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { verboseInfo } from './runtime-context.ts';
import { buildSandboxStatus } from './sandbox-status.ts';

type InfoHandlers = Pick<
  CriHandlers,
  'version' | 'status' | 'runtimeConfig' | 'updateRuntimeConfig' | 'getContainerEvents'
>;

const RUNTIME_NAME = 'tkadm';

export function createInfoHandlers(context: RuntimeContext): InfoHandlers {
  return {
    version: async () => ({
      version: '0.1.0',
      runtimeName: RUNTIME_NAME,
      runtimeVersion: VERSION,
      runtimeApiVersion: 'v1',
    }),
    async status({ verbose }) {
      const network = await networkCondition(context);
      return {
        status: { conditions: [{ type: 'RuntimeReady', status: true }, network] },
        runtimeHandlers: context.handlers.map(({ name, features }) => ({ name, features })),
        features: { supplementalGroupsPolicy: true, userNamespacesHostNetwork: false },
        info: verboseInfo(verbose, () => ({
          sandboxes: context.sandboxes.list().length,
          containers: context.containers.list().length,
          images: context.images.list().length,
        })),
      };
    },
    runtimeConfig: async () => ({ linux: { cgroupDriver: 'CGROUPFS' } }),
    async updateRuntimeConfig({ runtimeConfig }) {
      // The pod network's plugin gets its range from its own configuration.
      context.log.debug('pod CIDR announced', { cidr: runtimeConfig?.networkConfig?.podCidr });
      return {};
    },
    async *getContainerEvents(_request, { signal }) {
      for await (const event of context.events.subscribe(signal)) {
        const sandbox = context.sandboxes.get(event.sandboxId);
        const containers = context.containers.list().filter((c) => c.sandboxId === event.sandboxId);
        yield {
          containerId: event.containerId,
          containerEventType: event.type,
          createdAt: event.createdAt,
          podSandboxStatus: sandbox && buildSandboxStatus(context, sandbox),
          containersStatuses: containers.map((container) => buildContainerStatus(context, container)),
        };
      }
    },
  };
}

async function networkCondition(context: RuntimeContext) {
  try {
    const config = await context.cni.config();
    if (config !== undefined) return { type: 'NetworkReady', status: true } as const;
    return {
      type: 'NetworkReady',
      status: false,
      reason: 'NetworkPluginNotReady',
      message: 'Network plugin returns error: cni plugin not initialized',
    } as const;
  } catch (error) {
    return {
      type: 'NetworkReady',
      status: false,
      reason: 'NetworkPluginNotReady',
      message: formatError(error),
    } as const;
  }
}
