import type { Host } from '../../runtime/base/host.ts';
import { KERNEL_MODULES } from '../../runtime/base/kernel-modules.ts';
import {
  type Check,
  errorFinding,
  type Finding,
  isUpstream,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { readScript } from '../observer.ts';
import { observeCgroups } from './cgroups.ts';

const SYSTEM = 'SystemVerification';

/** Long-term kernels below 6 on which Kubernetes is tested, beside every newer one. */
const TESTED = [
  [5, 4],
  [5, 10],
  [5, 15],
] as const;

/** The bundled runtime makes mounts with mount_setattr(2). */
const MIN_EMBEDDED = [5, 12] as const;

interface KernelOption {
  readonly name: string;
  readonly why: string;
  /** Its lack is an error, else a warning. */
  readonly isNeeded: boolean;
  /** Only with this version of cgroups. */
  readonly cgroup?: 2;
}

/**
 * Options without which the kernel lacks something that cannot be tried in passing. What can be tried is
 * tried, whatever the options say: distributions configure in many ways, and modules may be missing.
 */
const KERNEL_OPTIONS: readonly KernelOption[] = [
  { name: 'CGROUP_BPF', why: 'device rules on cgroup v2', isNeeded: true, cgroup: 2 },
  { name: 'CGROUP_SCHED', why: 'CPU shares', isNeeded: true },
  { name: 'FAIR_GROUP_SCHED', why: 'CPU shares', isNeeded: true },
  { name: 'CGROUP_PIDS', why: 'limits of processes', isNeeded: true },
  { name: 'MEMCG', why: 'memory limits', isNeeded: true },
  { name: 'CPUSETS', why: 'exclusive CPUs', isNeeded: true },
  { name: 'INET', why: 'TCP/IP', isNeeded: true },
  { name: 'CFS_BANDWIDTH', why: 'CPU limits', isNeeded: false },
  { name: 'SECCOMP_FILTER', why: 'seccomp profiles', isNeeded: true },
];

/** What is tried in namespaces that end with the trial; each line is a name, "|" and a command. */
const TRIALS = [
  'overlay|mount -t tmpfs tkadm /mnt && mkdir /mnt/l /mnt/u /mnt/w /mnt/m && mount -t overlay tkadm -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m',
  'veth|ip link add tk0 type veth peer name tk1',
  'bridge|ip link add tk2 type bridge',
  'nf_tables|nft add table ip t',
  'nft_nat|nft "add table ip n; add chain ip n c { type nat hook postrouting priority 100; }; add rule ip n c masquerade"',
  'nft_ct|nft "add table ip s; add chain ip s c { type filter hook forward priority 0; }; add rule ip s c ct status dnat accept"',
  'nft_fib|nft "add table ip f; add chain ip f c { type filter hook prerouting priority 0; }; add rule ip f c fib daddr type local accept"',
  'nft_numgen|nft "add table ip r; add chain ip r c { type filter hook prerouting priority 0; }; add rule ip r c numgen random mod 2 0 accept"',
  'nft_reject|nft "add table ip j; add chain ip j c { type filter hook forward priority 0; }; add rule ip j c reject"',
] as const;

/**
 * Prints "started", then for each trial that fails its name and the first line of what was said. What a module would bring
 * that can be loaded is not tried, as the module would stay: a look leaves nothing.
 */
const SCRIPT = `awaits() {
  [ -r /proc/modules ] && [ "$(cat /proc/sys/kernel/modules_disabled 2>/dev/null)" != 1 ] || return 1
  missing=
  for m; do grep -q "^$m " /proc/modules || missing="$missing $m"; done
  [ -n "$missing" ] || return 1
  modprobe -a -b --show-depends $missing 2>/dev/null | awk -v n="$missing" '
    /^insmod/ { sub(".*/", "", $2); sub(/\\.ko.*/, "", $2); gsub("-", "_", $2); has[$2] = 1 }
    /^builtin/ { has[$2] = 1 }
    END { split(n, names, " "); for (i in names) if (!(names[i] in has)) exit 1 }'
}
echo started
${TRIALS.map((row) => {
  const [name = '', command = ''] = row.split(/\|(.*)/s);
  const modules = (KERNEL_MODULES[name] ?? []).join(' ');
  return `awaits ${modules} || { command -v ${command.split(' ')[0]} >/dev/null && { out=$( { ${command}; } 2>&1 ) || echo "${name} $(echo "$out" | head -n 1)"; }; }`;
}).join('\n')}
:`;

/** What the kernel gives. */
export const KERNEL_CHECKS: readonly Check[] = [
  {
    name: SYSTEM,
    scopes: ['init', 'join', 'join-control-plane', 'upgrade'],
    severity: 'error',
    looksAt: {
      embedded:
        'kernel version and options, cgroup controllers (v1 is supported, with a warning), and by trial in private namespaces: overlayfs, veth, bridge, nftables with NAT',
      upstream:
        'kernel version and options, cgroup v2 with its controllers, overlayfs, veth and bridge by trial',
    },
    async observe(host, input) {
      const parts = [observeVersion, observeOptions, observeCgroups, observeTrials];
      return (await Promise.all(parts.map((part) => part(host, input)))).flat();
    },
  },
];

async function observeVersion(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const release = (await host.readFile('/proc/sys/kernel/osrelease'))?.trim();
  if (release === undefined) {
    return [errorFinding(SYSTEM, 'only Linux is supported', '/proc/sys/kernel/osrelease is not there')];
  }
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const [minMajor, minMinor] = MIN_EMBEDDED;
  if (!isUpstream(input) && (major < minMajor || (major === minMajor && minor < minMinor))) {
    return [
      errorFinding(
        SYSTEM,
        `the bundled runtime needs Linux ${MIN_EMBEDDED.join('.')}`,
        `/proc/sys/kernel/osrelease is ${release}`,
        'boot a newer kernel',
      ),
    ];
  }
  if (major >= 6 || TESTED.some((tested) => tested[0] === major && tested[1] === minor)) return [];
  const tested = TESTED.map((version) => version.join('.')).join(', ');
  return [
    warningFinding(
      SYSTEM,
      `Kubernetes is tested with the kernels ${tested}, and 6 and later`,
      `/proc/sys/kernel/osrelease is ${release}`,
    ),
  ];
}

/** A configuration that cannot be read is no finding: the trials tell what matters. */
async function observeOptions(host: Host): Promise<readonly Finding[]> {
  const pattern = `^CONFIG_(${KERNEL_OPTIONS.map((row) => row.name).join('|')})=`;
  const script = `f=/boot/config-$(uname -r)
if [ -r /proc/config.gz ]; then echo /proc/config.gz; zcat /proc/config.gz | grep -E "$1"
elif [ -r "$f" ]; then echo "$f"; grep -E "$1" "$f"; fi`;
  const [source = '', ...lines] = (await readScript(host, script, pattern)).trim().split('\n');
  if (source === '') return [];
  const set = new Set(lines.map((line) => /^CONFIG_(\w+)=[ym]/.exec(line)?.[1]));
  const hasV2 = (await host.stat('/sys/fs/cgroup/cgroup.controllers')) !== undefined;
  return KERNEL_OPTIONS.filter((row) => !set.has(row.name) && (hasV2 || row.cgroup !== 2)).map(
    ({ name, why, isNeeded }) =>
      (isNeeded ? errorFinding : warningFinding)(
        SYSTEM,
        `the kernel was built without ${why}`,
        `${source} does not set CONFIG_${name}`,
        'boot another kernel',
      ),
  );
}

/** Does what a node does, where nobody sees it: options and modules may be there without any effect. */
async function observeTrials(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const argv = [
    'unshare',
    '-m',
    '-n',
    '-u',
    '-i',
    '-C',
    '-p',
    '-f',
    'sh',
    '-c',
    `PATH=$PATH:/usr/sbin:/sbin\n${SCRIPT}`,
  ];
  const { stdout, stderr, exitCode } = await host.run(argv);
  // A command that is missing is another check's finding.
  if (exitCode === 127) return [];
  const [started, ...lines] = stdout.trim().split('\n');
  if (started !== 'started') {
    return [
      errorFinding(
        SYSTEM,
        'the kernel does not make the namespaces of a container',
        `unshare says: ${stderr.trim().split('\n')[0] || `exit code ${exitCode}`}`,
        'run on a machine, not in a container that has no rights',
      ),
    ];
  }
  return lines
    .filter((line) => !isUpstream(input) || !line.startsWith('nf'))
    .map((line) => {
      const [name = '', ...said] = line.split(' ');
      const modules = KERNEL_MODULES[name] ?? [name];
      const argv = ['modprobe', ...(modules.length > 1 ? ['-a'] : []), ...modules];
      return {
        ...errorFinding(
          SYSTEM,
          `the kernel cannot do ${name}`,
          `tried it: ${said.join(' ')}`,
          argv.join(' '),
        ),
        repair: [argv],
      };
    });
}
