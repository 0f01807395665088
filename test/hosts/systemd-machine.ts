import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { sleep } from '../../runtime/base/time.ts';
import { type CgroupHost, parseCgroupHost } from '../../runtime/container/cgroup/cgroup-host.ts';

const SYSTEMD = '/lib/systemd/systemd';
/** How long systemd may take to answer, and its processes to go; looked at every 20 ms. */
const MAX_TRIES = 1500;

/** Why there can be no such machine here; false when there can. */
export const systemdSkipReason: string | false =
  process.getuid?.() !== 0 ? 'needs root' : existsSync(SYSTEMD) ? false : 'needs systemd';

/** A machine in namespaces of its own whose first process is systemd, over this one's files. */
export interface SystemdMachine {
  /** Words before a command that runs it there. */
  readonly enter: readonly string[];
  /** The directory of a cgroup as it is seen here; undefined for a controller that is not there. */
  cgroup(controller: string, path: string): string | undefined;
  /** Ends every process, and removes its cgroups. */
  close(): Promise<void>;
}

/**
 * Starts it with its own part of the cgroups for the tree's root: those of v1 and, beside them, v2 (a hybrid machine, as
 * systemd calls it), or v2 alone.
 * @throws Error with systemd's last words when it does not come up
 */
export async function createSystemdMachine(): Promise<SystemdMachine> {
  const host = parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'));
  const group = `tkadm-test-systemd-${randomBytes(4).toString('hex')}`;
  const roots = listMounts(host).map(({ mountPoint }) => join(mountPoint, group));
  for (const root of roots) makeGroup(root);
  const joinAll = roots.map((root) => `echo 0 > ${root}/cgroup.procs`).join('\n');
  const script = buildInit(host);
  // It must not outlive a test that is killed.
  const unshare = ['unshare', '--kill-child', '-C', '-m', '-u', '-i', '-p', '-f', 'sh', '-c', script];
  const enterGroup = `set -e\n${joinAll}\nexec setpriv --pdeathsig=KILL "$@"`;
  const init = execa('sh', ['-c', enterGroup, 'sh', ...unshare], {
    reject: false,
    stdin: 'ignore',
    all: true,
  });
  const close = async () => {
    init.kill('SIGKILL');
    await init;
    for (const root of roots) await removeGroup(root);
  };
  try {
    const pid = await findInit(init.pid ?? 0);
    const enter = ['nsenter', '-t', String(pid), '-C', '-m', '-u', '-i', '-p', '--wd=/'];
    for (let tries = 0; ; tries += 1) {
      const { exitCode } = await execa(
        enter[0]!,
        [...enter.slice(1), 'systemctl', 'is-active', 'bare.target'],
        {
          reject: false,
        },
      );
      if (exitCode === 0) break;
      if (init.exitCode !== null || tries > MAX_TRIES) throw new Error('systemd does not answer');
      await sleep(20);
    }
    const cgroup = (controller: string, path: string) => {
      const mount = listMounts(host).find(({ names }) => names.includes(controller));
      return mount && join(mount.mountPoint, group, path);
    };
    return { enter, cgroup, close };
  } catch (error) {
    await close();
    throw new Error(`${(error as Error).message}: ${(await init).all?.slice(-300)}`);
  }
}

/** Each hierarchy with the names of its controllers; that of v2 beside v1 is "unified". */
function listMounts(
  host: CgroupHost,
): readonly { readonly names: readonly string[]; readonly mountPoint: string }[] {
  if (host.version === 2) return [{ names: [...host.controllers, 'unified'], mountPoint: host.mountPoint }];
  const own = host.hierarchies.map(({ controllers, mountPoint }) => ({ names: controllers, mountPoint }));
  return host.unified === undefined ? own : [...own, { names: ['unified'], mountPoint: host.unified }];
}

/** A cpuset of v1 takes no process before it has CPUs. */
function makeGroup(root: string): void {
  mkdirSync(root);
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    const path = join(root, file);
    if (
      existsSync(path) &&
      readFileSync(path, 'utf8').trim() === '' &&
      !existsSync(join(root, 'cgroup.controllers'))
    )
      writeFileSync(path, readFileSync(join(dirname(root), file)));
  }
}

async function removeGroup(root: string): Promise<void> {
  const directories = readdirSync(root, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
  const deepestFirst = [...directories, root].sort((a, b) => b.length - a.length);
  for (const directory of deepestFirst) {
    for (let tries = 0; ; tries += 1) {
      try {
        rmdirSync(directory);
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') break;
        if (tries > MAX_TRIES) throw error;
        await sleep(20);
      }
    }
  }
}

/** systemd with two units: a target with nothing in it, and the bus, which is to be started. What is written to /etc and /run is lost. */
function buildInit(host: CgroupHost): string {
  const mounts =
    host.version === 2
      ? ['mount -t cgroup2 cgroup2 /sys/fs/cgroup']
      : [
          'mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup',
          ...host.hierarchies.map(({ controllers }) => {
            const name = controllers.join().replace('name=', '');
            const options = controllers[0]?.startsWith('name=')
              ? `none,${controllers[0]}`
              : controllers.join();
            return `mkdir /sys/fs/cgroup/${name}; mount -t cgroup -o ${options} cgroup /sys/fs/cgroup/${name}`;
          }),
          ...(host.unified === undefined
            ? []
            : ['mkdir /sys/fs/cgroup/unified; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified']),
        ];
  return `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
rm -rf /etc/systemd/system /etc/systemd/system-generators
mkdir -p /etc/systemd/system
cd /etc/systemd/system
printf '[Unit]\\nDefaultDependencies=no\\n' > bare.target
printf '[Unit]\\nDefaultDependencies=no\\n[Socket]\\nListenStream=/run/dbus/system_bus_socket\\n' > dbus.socket
printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nType=notify\\nExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile\\n' > dbus.service
echo 0123456789abcdef0123456789abcdef > /etc/machine-id
cd /
umount -l /sys/fs/cgroup
${mounts.join('\n')}
exec env -i container=tkadm PATH=/usr/sbin:/usr/bin:/sbin:/bin ${SYSTEMD} --system --unit=bare.target --log-target=console --show-status=no`;
}

/** The only child of `unshare`, which is the machine's first process. */
async function findInit(parent: number): Promise<number> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const text = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8');
    const pid = Number(text.trim().split(' ')[0]);
    if (pid > 0) return pid;
    await sleep(20);
  }
  throw new Error('unshare has started nothing');
}
