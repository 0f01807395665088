import { once } from 'node:events';
import { execa } from 'execa';

/** A network namespace with a bridge: machines are its ports, and whoever enters it is the machine at `.1`. */
export interface PrivateNetwork {
  /** Words before a command that runs there. */
  readonly enter: readonly string[];
  /** Ends it with everything in it. */
  close(): Promise<void>;
}

/** Frames of many packets pass at once from one kernel to the other: each costs an emulator the same. */
const SETUP = `address=$1; shift
ip link set lo up
ip link add bridge type bridge
ip addr add "$address" dev bridge
ip link set bridge mtu 9000 up
for tap in "$@"; do
  ip tuntap add mode tap name "$tap"
  ip link set "$tap" mtu 9000 master bridge up
done
echo ready
exec sleep infinity`;

/** Makes a network that ends with this process, which has the address, "10.78.0.1/24". */
export async function createNetwork(address: string, taps: readonly string[]): Promise<PrivateNetwork> {
  const script = ['sh', '-ec', SETUP, 'sh', address, ...taps];
  const holder = execa('setpriv', ['--pdeathsig', 'KILL', 'unshare', '--net', ...script], {
    reject: false,
    stdin: 'ignore',
  });
  const isReady = await Promise.race([
    once(holder.stdout, 'data').then(() => true),
    holder.then(() => false),
  ]);
  if (!isReady) throw new Error(`the network of the machines was not made: ${(await holder).stderr}`);
  const close = async () => {
    holder.kill('SIGKILL');
    await holder;
  };
  return { enter: ['nsenter', `--net=/proc/${holder.pid}/ns/net`], close };
}
