import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import type { Test } from 'tap';
import { type CommandHost, type TimedOutput, TKADM } from '../hosts/cluster.ts';
import type { ReachableMachine } from './machine.ts';
import { PAYLOAD } from './payload.ts';

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

/** An emulated command may take as long as the slowest wait of tkadm itself. */
const COMMAND_TIMEOUT_MS = 480_000;

/** Why no machines can be made here, or false: the value of tap's `skip`. */
export function machineObstacle(): string | false {
  if (process.env['TKADM_TEST_VM'] !== '1') return 'takes ten minutes: npm run test:vm';
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

/** Runs tkadm from the payload on a machine. */
export async function runTkadm(
  machine: ReachableMachine,
  args: readonly string[],
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<TimedOutput> {
  const startedAt = performance.now();
  const result = await machine.exec([PAYLOAD.node, PAYLOAD.tkadm, ...args], { timeoutMs });
  return {
    ...result,
    all: `${result.stdout}${result.stderr}`,
    seconds: (performance.now() - startedAt) / 1000,
  };
}

/**
 * A host for `kubectl` and its helpers: the program runs on this machine, which is not emulated, as the
 * administrator of the machine's cluster, whose API server it reaches at `server`.
 */
export async function administratorOf(
  machine: ReachableMachine,
  { directory, server }: { readonly directory: string; readonly server: string },
): Promise<CommandHost> {
  const kubeconfig = await machine.shell('cat /etc/kubernetes/admin.conf');
  const path = join(directory, 'admin.conf');
  const text = kubeconfig.replace(
    /^(\s*)server: .*$/m,
    `$1server: https://${server}\n$1tls-server-name: kubernetes`,
  );
  await writeFile(path, text, { mode: 0o600 });
  return {
    async exec([program = '', ...args], options = {}) {
      const result = await execa(program, args, {
        reject: false,
        stripFinalNewline: false,
        timeout: options.timeoutMs ?? 0,
        env: { ...options.env, KUBECONFIG: path },
        ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
      });
      return {
        exitCode: result.timedOut ? 124 : (result.exitCode ?? 125),
        stdout: result.stdout,
        stderr: result.stderr,
      };
    },
  };
}

/** What tkadm may change on a machine, one fact a line: a reset must bring all of it back. */
export async function readTraces(machine: ReachableMachine): Promise<readonly string[]> {
  const text = await machine.shell(TRACES_SCRIPT);
  return text.split('\n').filter(Boolean).sort();
}

/** Resets every machine, the last one first, and compares what is there with what was before. */
export async function resetAll(
  t: Test,
  machines: readonly ReachableMachine[],
  before: readonly (readonly string[])[],
): Promise<void> {
  for (const [index, machine] of [...machines.entries()].reverse()) {
    const result = await runTkadm(machine, ['reset', '-f']);
    t.equal(result.exitCode, 0, result.all);
    t.comment(`reset of ${machine.name} took ${result.seconds.toFixed(0)} s`);
    t.same(await readTraces(machine), before[index], `${machine.name} is as it was`);
  }
}

/** Paths of this machine's life that come and go by themselves are left out. */
const TRACES_SCRIPT = `
mounts() { cut -d' ' -f5 /proc/self/mountinfo | grep -v -e ^/run/user -e ^/run/credentials; }
mounts | sed 's/^/mount /'
ip -o link show | sed -E 's/^[0-9]+: ([^:@]+).*/interface \\1/'
ip -4 route show | sed 's/^/route /'
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
