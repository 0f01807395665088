import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Server, status } from '@grpc/grpc-js';
import { formatError, TkadmError } from '../../base/errors.ts';
import { addServices, bindSocket } from '../../base/grpc-server.ts';
import type { MessageOf } from '../../base/protobuf.ts';
import { isExtendedResource } from './choose-devices.ts';
import { DEVICE_PLUGIN_VERSION, REGISTRATION_RPCS, type RegisterRequest } from './messages.ts';

export type Registration = MessageOf<typeof RegisterRequest>;

/** The socket's name is fixed: plugins look for it, and its creation tells them to register again. */
const SOCKET = 'kubelet.sock';

/**
 * Serves the registration of device plugins in a directory, from which old sockets are removed first, as plugins
 * expect it of a kubelet that has started again. Returns what ends it.
 */
export async function serveRegistration(
  directory: string,
  register: (request: Registration) => void,
): Promise<() => void> {
  await mkdir(directory, { recursive: true, mode: 0o750 });
  await removeSockets(directory);
  const server = new Server();
  addServices<(typeof REGISTRATION_RPCS)[number]>(server, {
    rows: REGISTRATION_RPCS,
    handlers: {
      register: async (request) => {
        verifyRequest(request);
        register(request);
        return {};
      },
    },
    toStatus: (_row, error) => ({ code: status.INVALID_ARGUMENT, details: formatError(error) }),
  });
  await bindSocket(server, join(directory, SOCKET));
  return () => server.forceShutdown();
}

async function removeSockets(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if ((await lstat(path)).isSocket()) await rm(path, { force: true });
  }
}

/** @throws AGENT_DEVICE naming the field. */
function verifyRequest({ version, endpoint, resourceName }: Registration): void {
  if (version !== DEVICE_PLUGIN_VERSION) {
    throw refused(resourceName, `its version is "${version}", not "${DEVICE_PLUGIN_VERSION}"`);
  }
  if (!isExtendedResource(resourceName)) {
    throw refused(resourceName, 'that is no name of an extended resource, such as "vendor.example/gpu"');
  }
  if (endpoint === '' || endpoint === SOCKET || endpoint.includes('/')) {
    throw refused(resourceName, `its endpoint "${endpoint}" is no file name`);
  }
}

function refused(resourceName: string, state: string): TkadmError {
  return new TkadmError('AGENT_DEVICE', `Cannot register the device plugin of "${resourceName}": ${state}`);
}
