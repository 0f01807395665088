import t from 'tap';
import { CHECKS } from '../../preflight/checks.ts';
import type { Finding, PreflightInput } from '../../preflight/finding.ts';
import { formatFindings, preflightError, runPreflight, selectFatal } from '../../preflight/run.ts';
import type { CommandResult, Host } from '../../runtime/base/host.ts';
import { createLocalHost } from '../../runtime/host/local.ts';

const INPUT: PreflightInput = {
  scope: 'init',
  nodeName: 'node-1',
  ports: [6443, 10250],
  absentFiles: ['/etc/kubernetes/manifests/kube-apiserver.yaml'],
  clusterCidrs: ['10.244.0.0/16', '10.96.0.0/12'],
  ignored: [],
  advertiseAddress: '10.0.0.5',
};

const V1_CONTROLLERS = ['cpu', 'cpuset', 'devices', 'freezer', 'memory', 'pids'];
const GOOD_FILES: Readonly<Record<string, string>> = {
  '/sys/devices/system/cpu/online': '0-1\n',
  '/proc/meminfo': 'MemTotal:        4000000 kB\n',
  '/proc/swaps': 'Filename Type Size Used Priority\n',
  '/proc/net/tcp': '  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A\n',
  '/proc/net/tcp6': '',
  '/proc/sys/net/ipv4/ip_forward': '1\n',
  '/proc/filesystems': 'nodev\tproc\nnodev\toverlay\n',
  '/proc/self/mountinfo': V1_CONTROLLERS.map(
    (c) => `1 2 0:1 / /sys/fs/cgroup/${c} rw - cgroup cgroup rw,${c}`,
  ).join('\n'),
  '/proc/sys/kernel/osrelease': '6.1.0-1-amd64\n',
};
const GOOD_LISTS: Readonly<Record<string, readonly string[]>> = {
  '/proc/self/ns': ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'],
};
const ADDRESSES = JSON.stringify([
  { ifname: 'lo', addr_info: [{ local: '127.0.0.1', scope: 'host' }] },
  { ifname: 'eth0', addr_info: [{ local: '10.0.0.5', scope: 'global' }] },
]);
const ok = (stdout = ''): CommandResult => ({ exitCode: 0, stdout, stderr: '' });
const GOOD_COMMANDS: Readonly<Record<string, CommandResult>> = {
  id: ok('0\n'),
  df: ok('Filesystem 1M Used Available Capacity Mounted\n/dev/vda 100000 1 50000 1% /\n'),
  sh: ok(),
  ip: ok('[]'),
  'ip -j addr show': ok(ADDRESSES),
  nft: ok(),
  getent: ok('10.0.0.5 node-1\n'),
};

interface Machine {
  readonly files?: Readonly<Record<string, string | undefined>>;
  readonly lists?: Readonly<Record<string, readonly string[]>>;
  readonly commands?: Readonly<Record<string, CommandResult>>;
}

/** A machine made of texts: what is not named is not there. */
function machine({ files = {}, lists = {}, commands = {} }: Machine): Host {
  const allFiles: Record<string, string | undefined> = { ...GOOD_FILES, ...files };
  const allLists: Record<string, readonly string[]> = { ...GOOD_LISTS, ...lists };
  const allCommands: Record<string, CommandResult> = { ...GOOD_COMMANDS, ...commands };
  const refuse = async () => {
    throw new Error('preflight only reads');
  };
  return {
    name: 'machine',
    run: async (argv) =>
      allCommands[argv.join(' ')] ?? allCommands[argv[0]!] ?? { exitCode: 127, stdout: '', stderr: '' },
    readFile: async (path) => allFiles[path],
    stat: async (path) =>
      allFiles[path] === undefined ? undefined : { kind: 'file', mode: 0o644, sizeBytes: 1 },
    list: async (path) => allLists[path] ?? [],
    writeFile: refuse,
    mkdir: refuse,
    remove: refuse,
  };
}

const PACKAGE_NAMES = 'nft\nip\n';

const CASES: readonly {
  name: string;
  machine: Machine;
  input?: Partial<PreflightInput>;
  finding?: string;
  severity?: Finding['severity'];
  evidence?: RegExp;
  fix?: RegExp;
}[] = [
  { name: 'nothing on a good machine', machine: {} },
  { name: 'no root', machine: { commands: { id: ok('1000\n') } }, finding: 'IsPrivilegedUser' },
  {
    name: 'one CPU',
    machine: { files: { '/sys/devices/system/cpu/online': '0\n' } },
    finding: 'NumCPU',
    evidence: /1$/,
  },
  { name: 'CPU ranges', machine: { files: { '/sys/devices/system/cpu/online': '0,2\n' } } },
  {
    name: 'one CPU of a worker',
    machine: { files: { '/sys/devices/system/cpu/online': '0\n' } },
    input: { scope: 'join' },
  },
  {
    name: 'little memory',
    machine: { files: { '/proc/meminfo': 'MemTotal: 1600000 kB\n' } },
    finding: 'Mem',
    evidence: /1638 MB/,
  },
  {
    name: 'full disk',
    machine: { commands: { df: ok('h\n/dev/vda 1 1 100 1% /\n') } },
    finding: 'DiskSpace',
  },
  {
    name: 'tight disk',
    machine: { commands: { df: ok('h\n/dev/vda 1 1 2000 1% /\n') } },
    finding: 'DiskSpace',
    severity: 'warning',
  },
  {
    name: 'swap with fstab',
    machine: {
      files: {
        '/proc/swaps': 'h\n/dev/sda2 partition 1 0 -2\n',
        '/etc/fstab': '# x\nUUID=1 none swap sw 0 0\n',
      },
    },
    finding: 'Swap',
    severity: 'warning',
    evidence: /\/dev\/sda2.*next boot/,
    fix: /fstab/,
  },
  { name: 'bad name', machine: {}, input: { nodeName: 'a_b' }, finding: 'Hostname' },
  {
    name: 'name without address',
    machine: { commands: { getent: { ...ok(), exitCode: 2 } } },
    input: { engine: 'upstream' },
    finding: 'Hostname',
    severity: 'warning',
  },
  {
    name: 'port in use, IPv6',
    machine: { files: { '/proc/net/tcp6': 'h\n 0: 00000000000000000000000000000000:192B 0:0 0A\n' } },
    finding: 'Port-6443',
    fix: /ss -ltnp 'sport = :6443'/,
  },
  { name: 'port of a connection', machine: { files: { '/proc/net/tcp': 'h\n 0: 0100007F:192B 0:0 01\n' } } },
  {
    name: 'address of no interface',
    machine: {},
    input: { advertiseAddress: '10.0.0.6' },
    finding: 'AdvertiseAddress',
    evidence: /10\.0\.0\.5 \(eth0\)/,
    fix: /--apiserver-advertise-address 10\.0\.0\.5$/,
  },
  {
    name: 'no forwarding',
    machine: { files: { '/proc/sys/net/ipv4/ip_forward': '0\n' } },
    finding: 'FileContent--proc-sys-net-ipv4-ip_forward',
    evidence: /is 0$/,
    fix: /sysctl -w net\.ipv4\.ip_forward=1/,
  },
  {
    name: 'no IPv6 forwarding',
    machine: { files: { '/proc/sys/net/ipv6/conf/default/forwarding': '0' } },
    input: { clusterCidrs: ['fd00::/56'] },
    finding: 'FileContent--proc-sys-net-ipv6-conf-default-forwarding',
  },
  {
    name: 'ranges of the host',
    machine: {
      commands: { ip: ok('[{"dst":"default","dev":"eth0"},{"dst":"10.244.7.0/24","dev":"eth1"}]') },
    },
    finding: 'CIDROverlap',
    severity: 'warning',
    evidence: /10\.244\.7\.0\/24 dev eth1/,
  },
  {
    name: 'other CNI',
    machine: { lists: { '/etc/cni/net.d': ['05-x.conflist', '10-tkadm.conflist'] } },
    finding: 'CNIConfig',
    severity: 'warning',
    fix: /05-x/,
  },
  {
    name: 'firewalld',
    machine: {
      files: { '/run/systemd/system': '' },
      commands: { systemctl: ok('active\n'), timedatectl: ok('yes\n') },
    },
    finding: 'Firewalld',
    severity: 'warning',
    fix: /--add-port=6443\/tcp --add-port=10250\/tcp/,
  },
  {
    name: 'proxy',
    machine: {},
    input: { env: { HTTPS_PROXY: 'http://p', NO_PROXY: '10.96.0.0/12, 10.244.0.0/16' } },
    finding: 'HTTPProxy',
    severity: 'warning',
    fix: /NO_PROXY=10\.96\.0\.0\/12,10\.244\.0\.0\/16,10\.0\.0\.5/,
  },
  {
    name: 'proxy with exceptions',
    machine: {},
    input: { env: { https_proxy: 'x', no_proxy: '10.0.0.0/8' } },
  },
  {
    name: 'old manifest',
    machine: { files: { '/etc/kubernetes/manifests/kube-apiserver.yaml': '' } },
    finding: 'FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml',
    fix: /tkadm reset/,
  },
  {
    name: "another etcd's data",
    machine: { lists: { '/var/lib/etcd': ['member'] } },
    input: { emptyDirectories: ['/var/lib/etcd'] },
    finding: 'DirAvailable--var-lib-etcd',
    evidence: /1 entry/,
  },
  {
    name: 'old objects',
    machine: { lists: { '/var/lib/tkadm/store': ['data.mdb'] } },
    finding: 'StoreWithoutCertificates',
    severity: 'warning',
  },
  {
    name: 'missing commands',
    machine: { commands: { sh: ok(PACKAGE_NAMES) } },
    finding: 'FileExisting-nft',
    fix: /install -y --no-install-recommends nftables/,
  },
  {
    name: 'old kernel',
    machine: { files: { '/proc/sys/kernel/osrelease': '4.19.0' } },
    finding: 'SystemVerification',
    severity: 'warning',
  },
  {
    name: 'no overlay',
    machine: { files: { '/proc/filesystems': 'nodev\tproc\n' } },
    finding: 'SystemVerification',
    fix: /modprobe overlay/,
  },
  {
    name: 'no cgroups',
    machine: { files: { '/proc/self/mountinfo': '' } },
    finding: 'SystemVerification',
    evidence: /has none/,
  },
  {
    name: 'cgroup v1 without memory',
    machine: {
      files: { '/proc/self/mountinfo': GOOD_FILES['/proc/self/mountinfo']!.replace(/.*memory.*\n/, '') },
    },
    finding: 'SystemVerification',
    evidence: /cgroup v1 has/,
  },
  { name: 'cgroup v1, upstream', machine: {}, input: { engine: 'upstream' }, finding: 'SystemVerification' },
  {
    name: 'cgroup v2',
    machine: { files: { '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory hugetlb pids\n' } },
  },
  {
    name: 'cgroup v2 without pids',
    machine: { files: { '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu memory\n' } },
    finding: 'SystemVerification',
    evidence: /cgroup v2/,
  },
  {
    name: 'no namespaces',
    machine: { lists: { '/proc/self/ns': ['mnt', 'pid'] } },
    finding: 'SystemVerification',
  },
  {
    name: 'no nftables',
    machine: { commands: { nft: { exitCode: 1, stdout: '', stderr: 'Protocol not supported\n' } } },
    finding: 'SystemVerification',
    evidence: /Protocol not supported/,
  },
  {
    name: 'clock',
    machine: {
      files: { '/run/systemd/system': '' },
      commands: { systemctl: ok('inactive'), timedatectl: ok('no\n') },
    },
    finding: 'TimeSync',
    severity: 'warning',
  },
  {
    name: 'SELinux',
    machine: { files: { '/sys/fs/selinux/enforce': '1' } },
    finding: 'SELinux',
    severity: 'warning',
  },
];

t.test('CHECKS has unique names', (t) => {
  t.equal(new Set(CHECKS.map((row) => row.name)).size, CHECKS.length);
  t.end();
});

for (const { name, machine: parts, input = {}, finding, severity = 'error', evidence, fix } of CASES) {
  t.test(`runPreflight() reports ${name}`, async (t) => {
    const findings = await runPreflight(machine(parts), { ...INPUT, ...input });
    if (finding === undefined) {
      t.same(findings, []);
      return;
    }
    const found = findings.find((row) => row.check === finding);
    t.match(found, { check: finding, severity });
    if (evidence) t.match(found?.evidence, evidence);
    if (fix) t.match(found?.fix, fix);
    for (const row of findings) {
      t.ok(
        CHECKS.some((check) => row.check.startsWith(check.name)),
        `${row.check} has a row`,
      );
    }
  });
}

t.test('errors are ignored by name in any case, or all', async (t) => {
  const bad = machine({ commands: { id: ok('1\n') }, files: { '/proc/meminfo': 'MemTotal: 1 kB\n' } });
  const severities = async (ignored: readonly string[]) =>
    (await runPreflight(bad, { ...INPUT, ignored })).map((row) => `${row.check} ${row.severity}`);
  t.same(await severities([]), ['IsPrivilegedUser error', 'Mem error']);
  t.same(await severities(['mem']), ['IsPrivilegedUser error', 'Mem warning']);
  t.same(await severities(['all']), ['IsPrivilegedUser warning', 'Mem warning']);
});

t.test('formatFindings() and preflightError() show reason, evidence and fix', async (t) => {
  const findings = await runPreflight(machine({ files: { '/proc/sys/net/ipv4/ip_forward': '0' } }), INPUT);
  t.equal(
    formatFindings(findings),
    '\t[ERROR FileContent--proc-sys-net-ipv4-ip_forward]: packets are not forwarded between interfaces\n' +
      '\t\tseen: /proc/sys/net/ipv4/ip_forward is 0\n' +
      '\t\tfix: sysctl -w net.ipv4.ip_forward=1 && echo net.ipv4.ip_forward=1 >> /etc/sysctl.d/99-tkadm.conf (or --fix)\n',
  );
  t.equal(selectFatal(findings, false).length, 1);
  t.equal(selectFatal(findings, true).length, 0);
  t.match(preflightError(findings), { code: 'PREFLIGHT_FAILED', hint: /--fix/ });
});

t.test('runPreflight() looks at this machine in little time', async (t) => {
  const startedAt = performance.now();
  const findings = await runPreflight(createLocalHost(), { ...INPUT, advertiseAddress: '203.0.113.77' });
  const elapsedMs = performance.now() - startedAt;
  t.ok(findings.some((row) => row.check === 'AdvertiseAddress'));
  t.ok(elapsedMs < 3_000, `${Math.round(elapsedMs)} ms`);
  t.comment(`${Math.round(elapsedMs)} ms: ${formatFindings(findings)}`);
});
