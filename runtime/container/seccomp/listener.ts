import { closeSync } from 'node:fs';
import { TkadmError } from '../../base/errors.ts';
import { takeDescriptor } from '../container-streams.ts';
import type { Libc } from '../libc.ts';
import { OCI_VERSION, type OciSpec } from '../oci-spec.ts';

export interface ListenedProcess {
  readonly spec: OciSpec;
  readonly id: string;
  readonly status: 'created' | 'running';
  /** Host pids of the process that waits and of the container's first. */
  readonly pid: number;
  readonly containerPid: number;
  readonly bundle: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * Takes the descriptor of a process's filter, and sends it to the socket that decides on its calls, with the "container
 * process state" as JSON (runtime-spec config-linux.md, "The Container Process State").
 * @throws CONTAINER_LAUNCH
 */
export function sendListener(libc: Libc, process_: ListenedProcess, fd: number): void {
  const { spec, id, status, pid, containerPid, bundle, annotations } = process_;
  const { listenerPath = '', listenerMetadata = '' } = spec.linux?.seccomp ?? {};
  const fail = (reason: string) =>
    new TkadmError(
      'CONTAINER_LAUNCH',
      `Cannot use "linux.seccomp.listenerPath" "${listenerPath}": ${reason}`,
    );
  const ociVersion = spec.ociVersion ?? OCI_VERSION;
  const state = { ociVersion, id, status, pid: containerPid, bundle, annotations };
  const message = { ociVersion, fds: ['seccompFd'], pid, metadata: listenerMetadata, state };
  const listener = takeDescriptor(libc, pid, fd);
  if (listener === undefined) throw fail('the process has ended');
  let socket: number | undefined;
  try {
    socket = libc.connectUnix(listenerPath);
    if (!libc.sendDescriptors(socket, Buffer.from(JSON.stringify(message)), [listener]))
      throw new Error('it was closed');
  } catch (error) {
    throw fail((error as Error).message);
  } finally {
    for (const open of [socket, listener]) if (open !== undefined) closeSync(open);
  }
}
