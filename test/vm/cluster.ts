import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Test } from 'tap';
import { bundledCommand } from '../../bootstrap/ssh/upload-bundle.ts';
import { type TimedOutput, TKADM } from '../hosts/cluster.ts';
import { COMMAND_TIMEOUT_MS } from './administrator.ts';
import type { ReachableMachine } from './machine.ts';

/** Programs that virtual machines need here, with the Debian package of each. */
const PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  mmdebstrap: 'mmdebstrap',
  mke2fs: 'e2fsprogs',
  setpriv: 'util-linux',
  ssh: 'openssh-client',
  busybox: 'busybox-static',
  kubectl: 'kubernetes-client',
} as const;

/** Why no machines can be made here, or false: the value of tap's `skip`. */
export function machineObstacle(): string | false {
  if (!process.env['TKADM_TEST_VM']) return 'takes ten minutes: npm run test:vm';
  if (process.getuid?.() !== 0) return 'needs root';
  if (process.arch !== 'x64') return 'needs x86-64';
  if (!existsSync(TKADM)) return 'needs dist/tkadm.js: node build.mjs';
  if (!existsSync('/etc/apt')) return 'needs Debian, for the packages of the machines';
  const path = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const absent = Object.entries(PROGRAMS)
    .filter(([program]) => !path.some((directory) => existsSync(join(directory, program))))
    .map(([, debianPackage]) => debianPackage);
  return absent.length > 0 && `needs apt-get install ${absent.join(' ')}`;
}

/** tkadm of the bundle that a node has. */
const BUNDLED = bundledCommand('current');

/** Runs tkadm on a machine: a node's own, or that of the payload. */
export async function runTkadm(
  machine: ReachableMachine,
  args: readonly string[],
  program: readonly string[] = BUNDLED,
): Promise<TimedOutput> {
  const startedAt = performance.now();
  const result = await machine.exec([...program, ...args], { timeoutMs: COMMAND_TIMEOUT_MS });
  return {
    ...result,
    all: `${result.stdout}${result.stderr}`,
    seconds: (performance.now() - startedAt) / 1000,
  };
}

/** What tkadm may change on a machine, one fact a line: a reset must bring all of it back. */
export async function readTraces(machine: ReachableMachine): Promise<readonly string[]> {
  const text = await machine.shell(TRACES_SCRIPT);
  return text.split('\n').filter(Boolean).sort();
}

/** Puts the image of the workload on a node. */
export async function loadImage(machine: ReachableMachine, archive: Buffer): Promise<void> {
  const path = '/root/image.tar';
  await machine.exec(['sh', '-c', `cat > ${path}`], { input: archive as never });
  const { exitCode, all } = await runTkadm(machine, ['image', 'load', '-i', path]);
  if (exitCode !== 0) throw new Error(`${machine.name}: ${all}`);
}

/** Resets machines, the first one at last, and compares what is there with what was before. */
export async function resetAll(
  t: Test,
  machines: readonly ReachableMachine[],
  before: readonly (readonly string[])[],
): Promise<void> {
  const resetOne = async (machine: ReachableMachine, index: number) => {
    const result = await runTkadm(machine, ['reset', '-f']);
    t.equal(result.exitCode, 0, result.all);
    t.comment(`reset of ${machine.name} took ${result.seconds.toFixed(0)} s`);
    t.same(await readTraces(machine), before[index], `${machine.name} is as it was`);
  };
  const [first, ...others] = machines;
  await Promise.all(others.map((machine, index) => resetOne(machine, index + 1)));
  if (first !== undefined) await resetOne(first, 0);
}

/** Paths of this machine's life that come and go by themselves are left out. */
const TRACES_SCRIPT = `
mounts() { cut -d' ' -f5 /proc/self/mountinfo | grep -v -e ^/run/user -e ^/run/credentials; }
mounts | sed 's/^/mount /'
ip -o link show | sed -E 's/^[0-9]+: ([^:@]+).*/interface \\1/'
ip -4 route show | sed 's/^/route /'
tail -n +2 /proc/swaps | awk '{ print "swap", $1, $5 }'
sed -nE 's/^(overlay|veth|bridge|nft_[a-z0-9_]+|nf_conntrack_netlink) .*/module \\1/p' /proc/modules
nft list tables | sed 's/^/nftables /'
find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d | sed 's/^/cgroup /'
find /sys/fs/cgroup -path '*tkadm*' -type d | sed 's/^/cgroup /'
find /sys/fs/cgroup -path '*kubepods*' -type d | sed 's/^/cgroup /'
ls /etc/systemd/system /etc/systemd/system/multi-user.target.wants | sed 's/^/unit file /'
systemctl list-units --all --plain --no-legend 'tkadm*' 'kube*' | sed 's/^/unit /'
for d in /etc/kubernetes /var/lib/kubelet /var/lib/tkadm /run/tkadm /var/log/pods /var/log/containers /etc/cni; do
  [ ! -d $d ] || find $d -mindepth 1 | sed 's/^/file /'
done
ps -e -o args= | grep -E 'tkadm|kube-|/pause|coredns' | grep -v -e grep -e sed -e sshd | sed 's/^/process /'
true
`;
