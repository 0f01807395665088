import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import type { CommandOptions, CommandResult, Host } from '../../runtime/base/host.ts';

/** What a machine is like before a case changes it: nothing of a cluster, one network card, forwarding on. */
const CLEAN = `
mount -t tmpfs tmpfs /mnt
for d in etc usr root; do
  mkdir -p /mnt/$d/upper /mnt/$d/work
  mount -t overlay overlay -o lowerdir=/$d,upperdir=/mnt/$d/upper,workdir=/mnt/$d/work /$d
done
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755,size=64g tmpfs /var/lib
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /tmp
rm -rf /etc/cni /etc/kubernetes
echo nameserver 198.51.100.53 > /etc/resolv.conf
echo 0-3 > /run/cpus; mount --bind /run/cpus /sys/devices/system/cpu/online
ip link set lo up
ip link add eth0 type veth peer name wire0
ip addr add 10.9.0.5/24 dev eth0
ip link set wire0 up; ip link set eth0 up
ip route add default via 10.9.0.1
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/default/forwarding
`;

export interface PrivateMachineOptions {
  /** POSIX sh, run as root on the machine; programs that it starts in the background go on. */
  readonly setup?: string;
  /** The user as whom everything is looked at. Default: 0. */
  readonly uid?: number;
  /** Capabilities that nobody has there: ["sys_admin"]. */
  readonly without?: readonly string[];
}

/** A machine in namespaces of its own that is looked at through the Host interface, a process a look. */
export interface PrivateMachine {
  readonly host: Host;
  /** Words before a command that runs it there. */
  readonly enter: readonly string[];
  /** Ends every process of it; the mounts and interfaces end with them. */
  close(): Promise<void>;
}

/**
 * Makes a machine out of mount, network, pid, UTS and IPC namespaces over this one's root file system; whatever
 * is written lies in tmpfs. Nothing of it is seen outside.
 */
export async function createPrivateMachine(options: PrivateMachineOptions = {}): Promise<PrivateMachine> {
  const { setup = '', uid = 0, without = [] } = options;
  const script = `set -e\nexport PATH=$PATH:/usr/sbin:/sbin\n${CLEAN}\n${setup}\nset +e; : > /run/is-ready; while :; do sleep 3600; done`;
  // It must not outlive a test that is killed.
  const unshare = ['unshare', '-m', '-n', '-u', '-i', '-p', '-f', '--kill-child', '--mount-proc'];
  const init = execa('setpriv', ['--pdeathsig=KILL', ...unshare, 'sh', '-c', script], {
    reject: false,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'pipe',
  });
  const close = async () => {
    init.kill('SIGKILL');
    await init;
  };
  const pid = await findChild(init.pid ?? 0);
  const drop =
    without.length === 0 ? [] : ['setpriv', `--bounding-set=${without.map((c) => `-${c}`).join(',')}`];
  const enter = ['nsenter', '-t', String(pid), '-m', '-n', '-u', '-i', '-p', '--wd=/'];
  const asUser = uid === 0 ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const run = (argv: readonly string[], runOptions: CommandOptions = {}) =>
    runCommand([...enter, ...drop, ...asUser, ...argv], runOptions);
  const host = createShellHost(run);
  for (let attempt = 0; ; attempt += 1) {
    if ((await run(['test', '-e', '/run/is-ready'])).exitCode === 0) return { host, enter, close };
    if (init.exitCode !== null || attempt > 500) break;
    await delay(10);
  }
  await close();
  throw new Error(`the machine was not made: ${(await init).stderr}`);
}

/** A Host whose every look is a command, as over SSH. */
function createShellHost(run: Host['run']): Host {
  return {
    name: 'private',
    run,
    async readFile(path) {
      const { exitCode, stdout } = await run([
        'sh',
        '-c',
        '[ -e "$1" ] || exit 44; exec cat -- "$1"',
        'sh',
        path,
      ]);
      if (exitCode === 0) return stdout;
      if (exitCode === 44) return undefined;
      throw new Error(`cannot read ${path}`);
    },
    async writeFile(path, content) {
      await run(['sh', '-c', 'mkdir -p "$(dirname "$1")"; cat > "$1"', 'sh', path], { input: content });
    },
    async stat(path) {
      const { exitCode, stdout } = await run(['stat', '-c', '%F:%a:%s', '--', path]);
      if (exitCode !== 0) return undefined;
      const [type = '', mode = '0', size = '0'] = stdout.trim().split(':');
      const kind = type === 'directory' ? type : type.startsWith('regular') ? 'file' : 'other';
      return { kind, mode: Number.parseInt(mode, 8), sizeBytes: Number(size) };
    },
    async list(path) {
      const { exitCode, stdout } = await run(['ls', '-1A', '--', path]);
      return exitCode === 0 ? stdout.split('\n').filter(Boolean).sort() : [];
    },
    async mkdir(path) {
      await run(['mkdir', '-p', '--', path]);
    },
    async remove(path) {
      await run(['rm', '-rf', '--one-file-system', '--', path]);
    },
  };
}

async function runCommand(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const [command = '', ...args] = argv;
  const result = await execa(command, args, {
    reject: false,
    stripFinalNewline: false,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input as string }),
    ...(options.timeoutMs ? { timeout: options.timeoutMs } : {}),
  });
  return {
    exitCode: result.timedOut ? 124 : (result.exitCode ?? 137),
    stdout: String(result.stdout ?? ''),
    stderr: String(result.stderr ?? ''),
  };
}

/** The only child of `unshare`, which is the machine's init. */
async function findChild(parent: number): Promise<number> {
  const { readFile } = await import('node:fs/promises');
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const text = await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8').catch(() => '');
    const pid = Number(text.trim().split(' ')[0]);
    if (pid > 0) return pid;
    await delay(5);
  }
  throw new Error('unshare has started nothing');
}
