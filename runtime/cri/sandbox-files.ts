import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError } from '../base/errors.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { formatResolvConf } from './sandbox-spec.ts';

/** MS_NOSUID | MS_NODEV | MS_NOEXEC */
const SHM_FLAGS = 2 | 4 | 8;
const SHM_OPTIONS = 'mode=1777,size=65536k';

/** hostname, hosts and resolv.conf for the containers, and their shared memory. */
export async function writeSandboxFiles(
  context: RuntimeContext,
  id: string,
  config: PodSandboxConfig,
): Promise<void> {
  const directory = context.sandboxes.directory(id);
  const options = config.linux?.securityContext?.namespaceOptions;
  const isHostNetwork = options?.network === 'NODE';
  const hostFile = (path: string) => readFile(path, 'utf8').catch(() => '');
  const hostname =
    isHostNetwork || config.hostname === '' ? await hostFile('/etc/hostname') : `${config.hostname}\n`;
  const resolvConf = formatResolvConf(config.dnsConfig) ?? (await hostFile('/etc/resolv.conf'));
  await writeFile(join(directory, 'hostname'), hostname, { mode: 0o644 });
  await writeFile(join(directory, 'hosts'), await hostFile('/etc/hosts'), { mode: 0o644 });
  await writeFile(join(directory, 'resolv.conf'), resolvConf, { mode: 0o644 });
  if (options?.ipc === 'NODE') return;
  const shm = join(directory, 'shm');
  await mkdir(shm, { mode: 0o1777 });
  context.mounter.mount('shm', shm, 'tmpfs', SHM_FLAGS, SHM_OPTIONS);
}

/** Takes the shared memory away. */
export function unmountShm(context: RuntimeContext, id: string): void {
  try {
    context.mounter.unmount(join(context.sandboxes.directory(id), 'shm'));
  } catch (error) {
    context.log.debug('shared memory was not mounted', { id, error: formatError(error) });
  }
}
