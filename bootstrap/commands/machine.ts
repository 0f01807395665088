import { hostname } from 'node:os';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { OTHER_CRI_SOCKETS } from '../../runtime/base/paths.ts';
import type { MachineDefaults } from '../config/types.ts';

const RESOLVED_CONF = '/run/systemd/resolve/resolv.conf';

/**
 * What this machine says for defaults: its name and the address of its default route's interface.
 * @throws NO_ADDRESS when it has no address but the loopback's.
 */
export async function observeMachine(host: Host): Promise<MachineDefaults> {
  const [address, resolvConf, criSockets] = await Promise.all([
    findAdvertiseAddress(host),
    host.stat(RESOLVED_CONF),
    findSockets(host),
  ]);
  return {
    hostname: hostname().toLowerCase(),
    advertiseAddress: address,
    ...(resolvConf ? { resolvConf: RESOLVED_CONF } : {}),
    criSockets,
  };
}

async function findSockets(host: Host): Promise<readonly string[]> {
  const stats = await Promise.all(OTHER_CRI_SOCKETS.map((path) => host.stat(path)));
  // A socket is neither a file nor a directory nor a link.
  return OTHER_CRI_SOCKETS.filter((_, i) => stats[i]?.kind === 'other');
}

interface IpAddressRow {
  readonly ifname: string;
  readonly addr_info: readonly { readonly family: string; readonly local: string; readonly scope: string }[];
}

async function findAdvertiseAddress(host: Host): Promise<string> {
  const route = await host.run(['ip', '-j', '-4', 'route', 'get', '192.0.2.1']);
  const source = tryParse<readonly { prefsrc?: string }[]>(route.stdout)?.[0]?.prefsrc;
  if (source) return source;
  const rows =
    tryParse<readonly IpAddressRow[]>((await host.run(['ip', '-j', '-4', 'addr', 'show'])).stdout) ?? [];
  const address = rows
    .filter((row) => row.ifname !== 'tkadm0')
    .flatMap((row) => row.addr_info)
    .find((info) => info.scope === 'global')?.local;
  if (address) return address;
  throw new TkadmError(
    'NO_ADDRESS',
    'Cannot choose an address for this node: there is none but the loopback',
    {
      hint: 'ip address show; then --apiserver-advertise-address IP',
    },
  );
}

function tryParse<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}
