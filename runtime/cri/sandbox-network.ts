import { TkadmError } from '../base/errors.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { buildCniArgs, buildCniRuntimeConfig } from './sandbox-spec.ts';
import { sandboxName } from './sandbox-status.ts';

/** How CNI will be run; undefined with the host's network. */
export async function planNetwork(context: RuntimeContext, id: string, config: PodSandboxConfig) {
  if (config.linux?.securityContext?.namespaceOptions?.network === 'NODE') return undefined;
  const attachment = await context.cni.prepare({
    args: buildCniArgs(id, config),
    runtimeConfig: buildCniRuntimeConfig(config),
  });
  const has = (name: string) => attachment.list.plugins.some((plugin) => plugin.capabilities?.[name]);
  const { portMappings, bandwidth } = attachment.runtimeConfig;
  if (portMappings !== undefined && !has('portMappings')) {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot map host ports of ${sandboxName(config)}: no plugin of CNI network "${attachment.list.name}" can`,
      { hint: 'Add the plugin "portmap" with the capability "portMappings" to the network' },
    );
  }
  if (bandwidth !== undefined && !has('bandwidth')) {
    context.log.warn('bandwidth annotations have no effect: no CNI plugin for them', { id });
  }
  return attachment;
}

/** The network namespace, "" when the pause container has ended. */
export function netnsPath(context: RuntimeContext, id: string): string {
  const pid = context.engine.status(id)?.pid;
  return pid === undefined ? '' : `/proc/${pid}/ns/net`;
}
