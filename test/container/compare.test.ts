import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import type { OciSpec } from '../../runtime/container/oci-spec.ts';
import { buildProgram, createFixture, type SpecChanges, skipReason } from './fixture.ts';

const execute = promisify(execFile);
const RUNC = '/usr/sbin/runc';
/** What a program can see of how it was started. */
const SCRIPT = [
  'grep -E "^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig|Cpus_allowed|Mems)" /proc/self/status | grep -v Sig',
  'id; umask; pwd; hostname; tr "\\0" "\\n" < /proc/self/environ; cat /proc/self/limits /proc/self/oom_score_adj',
  'cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; tr "\\0" " " < /proc/self/attr/current',
  'ls -l /dev | tr -s " " | cut -d " " -f 1,3-6,10-; ls /proc/self/fd | wc -l; ls /sys/fs/cgroup',
  'cut -d: -f2 /proc/self/cgroup; cat /proc/sys/net/ipv4/ip_forward; ls -ld /missing/directory | cut -d " " -f 1',
  'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu/cpu.cfs_quota_us',
  // Debian's runc still allows /dev/net/tun.
  'sort /sys/fs/cgroup/devices/devices.list | uniq | grep -v 10:200',
  'for i in /proc/kcore /proc/timer_list /proc/sys /sys/firmware; do (cat $i | head -c 1) 2>&1; touch $i 2>&1; done',
  // What masks a path, and what cgroups are mounted on, is each one's own.
  'cut -d " " -f 2- /proc/mounts | sort | grep -vE "^/(proc|sys)[^ ]* (dev)?tmpfs"',
  'echo x > /proc/sysrq-trigger; echo x > /dev/null; mknod /tmp/node c 1 3; cat /proc/1/comm',
].join('\n');

t.test(
  'what a program sees is what runc shows it',
  { skip: skipReason || (!existsSync(RUNC) && 'needs runc') },
  async (t) => {
    const fixture = createFixture();
    const program = buildProgram(fixture.directory, 'oci-main');
    const bundle = join(fixture.directory, 'bundle');
    mkdirSync(bundle);
    renameSync(fixture.rootfs, join(bundle, 'rootfs'));
    let count = 0;
    const run = async (command: readonly string[], spec: OciSpec) => {
      count += 1;
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
      const [file = '', ...args] = [
        ...command,
        '--root',
        join(fixture.directory, `root${count}`),
        'run',
        '--bundle',
        bundle,
        `c${count}`,
      ];
      const { stdout, stderr } = await execute(file, args, { timeout: 60_000 }).catch(
        (error: { stdout: string; stderr: string }) => error,
      );
      return `${stdout}${stderr}`.replaceAll(fixture.cgroupParent, 'PARENT').replaceAll(/c\d+/g, 'cN');
    };
    const mounts = [
      {
        destination: '/data',
        type: 'bind',
        source: '/usr/share',
        options: ['rbind', 'ro', 'nosuid', 'nodev'],
      },
      {
        destination: '/scratch',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'noexec', 'size=8k', 'mode=1770'],
      },
    ];
    const rows: readonly (readonly [string, SpecChanges])[] = [
      ['the usual container', {}],
      [
        'a user with groups and a mask',
        { process: { user: { uid: 1000, gid: 1001, additionalGids: [5, 6], umask: 0o27 } } },
      ],
      [
        'capabilities of every kind',
        {
          process: {
            user: { uid: 1000, gid: 1000 },
            noNewPrivileges: false,
            capabilities: {
              bounding: ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],
              permitted: ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],
              effective: ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],
              inheritable: ['CAP_NET_BIND_SERVICE'],
              ambient: ['CAP_NET_BIND_SERVICE'],
            },
          },
        },
      ],
      ['no capabilities at all', { process: { capabilities: {} } }],
      [
        'limits and an OOM score',
        {
          process: {
            rlimits: [
              { type: 'RLIMIT_NOFILE', soft: 100, hard: 200 },
              { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
            ],
            oomScoreAdj: 500,
          },
        },
      ],
      ['a working directory that is missing', { process: { cwd: '/missing/directory' } }],
      ['sysctls', { linux: { sysctl: { 'net.ipv4.ip_forward': '1' }, readonlyPaths: [] } }],
      [
        'limits of cgroups',
        {
          linux: {
            resources: {
              memory: { limit: 64 << 20 },
              pids: { limit: 50 },
              cpu: { shares: 512, quota: 50000, period: 100000 },
              devices: [{ allow: false, access: 'rwm' }],
            },
          },
        },
      ],
      ['binds and file systems of its own', { spec: { mounts } }],
      ['a read-only root', { spec: { root: { path: 'rootfs', readonly: true } } }],
      [
        "the host's network, IPC and UTS namespaces",
        {
          spec: { hostname: '' },
          linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'cgroup' }] },
        },
      ],
      [
        'a filter of system calls',
        {
          linux: {
            seccomp: {
              defaultAction: 'SCMP_ACT_ALLOW',
              architectures: ['SCMP_ARCH_X86_64'],
              syscalls: [{ names: ['mknod', 'mknodat'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 }],
            },
          },
        },
      ],
      [
        'a device',
        {
          linux: {
            devices: [
              { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o640, uid: 3, gid: 4 },
            ],
            resources: {
              devices: [
                { allow: false, access: 'rwm' },
                { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
              ],
            },
          },
        },
      ],
    ];
    for (const [title, changes] of rows) {
      await t.test(title, async (t) => {
        const build = () => {
          const spec = fixture.buildSpec(['sh', '-c', `exec 2>&1\n${SCRIPT}`], changes);
          // Debian's runc follows an older version of the specification.
          return { ...spec, ociVersion: '1.0.2', root: { path: 'rootfs', ...changes.spec?.root } };
        };
        const theirs = await run([RUNC], build());
        const ours = await run([process.execPath, program], build());
        t.match(theirs, /^Uid:/);
        t.equal(ours, theirs);
      });
    }
    fixture.removeCgroups();
    fixture.remove();
  },
);
