import { BOTH, type Check, errorFinding, warningFinding } from '../finding.ts';

const MIN_CPUS = 2;
const MIN_MEMORY_MB = 1700;
const MIN_DISK_MIB = 1024;
const TIGHT_DISK_MIB = 4096;

/** What the machine has: rights, processors, memory, disk, a name. */
export const MACHINE_CHECKS: readonly Check[] = [
  {
    name: 'IsPrivilegedUser',
    scopes: BOTH,
    async observe(host) {
      const { stdout } = await host.run(['id', '-u']);
      const uid = stdout.trim();
      if (uid === '0') return [];
      return [errorFinding('IsPrivilegedUser', 'root is needed', `id -u says ${uid}`, 'sudo tkadm ...')];
    },
  },
  {
    name: 'NumCPU',
    scopes: ['init'],
    async observe(host) {
      const count = parseCpuCount(await host.readFile('/sys/devices/system/cpu/online'));
      if (count === undefined || count >= MIN_CPUS) return [];
      const evidence = `/sys/devices/system/cpu/online shows ${count}`;
      return [errorFinding('NumCPU', `a control plane needs ${MIN_CPUS} CPUs`, evidence)];
    },
  },
  {
    name: 'Mem',
    scopes: ['init'],
    async observe(host) {
      const kib = Number(/MemTotal:\s+(\d+)/.exec((await host.readFile('/proc/meminfo')) ?? '')?.[1] ?? 0);
      const megabytes = Math.floor((kib * 1024) / 1e6);
      if (kib === 0 || megabytes >= MIN_MEMORY_MB) return [];
      const evidence = `/proc/meminfo shows ${megabytes} MB`;
      return [errorFinding('Mem', `a control plane needs ${MIN_MEMORY_MB} MB of memory`, evidence)];
    },
  },
  {
    name: 'DiskSpace',
    scopes: BOTH,
    async observe(host) {
      const { stdout, exitCode } = await host.run(['df', '-Pm', '/var/lib']);
      const fields = stdout.trim().split('\n').at(-1)?.split(/\s+/) ?? [];
      const free = Number(fields[3] ?? Number.NaN);
      if (exitCode !== 0 || Number.isNaN(free) || free >= TIGHT_DISK_MIB) return [];
      const evidence = `/var/lib on "${fields[0]}" has ${free} MiB free`;
      return free < MIN_DISK_MIB
        ? [errorFinding('DiskSpace', `at least ${MIN_DISK_MIB} MiB are needed`, evidence, 'df -h /var/lib')]
        : [
            warningFinding(
              'DiskSpace',
              'images and logs will soon fill the disk',
              evidence,
              'df -h /var/lib',
            ),
          ];
    },
  },
  {
    name: 'Swap',
    scopes: BOTH,
    async observe(host) {
      const rows = ((await host.readFile('/proc/swaps')) ?? '').trim().split('\n').slice(1).filter(Boolean);
      if (rows.length === 0) return [];
      const devices = rows.map((row) => row.split(/\s+/)[0]).join(', ');
      const inFstab = /^[^#\s]\S*\s+\S+\s+swap\s/m.test((await host.readFile('/etc/fstab')) ?? '');
      const evidence = `/proc/swaps has ${devices}${inFstab ? '; /etc/fstab turns swap on at the next boot' : ''}`;
      const fix = inFstab ? 'swapoff -a, and take the swap lines out of /etc/fstab' : 'swapoff -a';
      return [
        {
          ...warningFinding('Swap', 'swap is on: memory limits do not bound it', evidence, fix),
          repair: [['swapoff', '-a']],
        },
      ];
    },
  },
  {
    name: 'Hostname',
    scopes: BOTH,
    async observe(host, { nodeName, engine }) {
      const isName =
        /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(nodeName) &&
        nodeName.length <= 253;
      if (!isName) {
        const reason = `"${nodeName}" is no DNS name`;
        const evidence = 'lower-case letters, digits, "-" and "." are allowed';
        return [errorFinding('Hostname', reason, evidence, 'tkadm ... --node-name NAME')];
      }
      // The embedded programs use addresses alone, and a name server that is away would cost seconds.
      if (engine !== 'upstream') return [];
      const { exitCode } = await host.run(['getent', 'hosts', nodeName], { timeoutMs: 2_000 });
      // 2: not found; anything else says that getent could not look.
      if (exitCode !== 2) return [];
      const reason = `the name "${nodeName}" has no address`;
      return [
        warningFinding(
          'Hostname',
          reason,
          'getent hosts finds none',
          `echo "ADDRESS ${nodeName}" >> /etc/hosts`,
        ),
      ];
    },
  },
];

/** "0-3,6" → 5 (Documentation/admin-guide/cputopology.rst). */
function parseCpuCount(text: string | undefined): number | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  return text
    .trim()
    .split(',')
    .map((range) => range.split('-').map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0);
}
