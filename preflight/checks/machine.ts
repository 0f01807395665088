import {
  type Check,
  CONTROL_PLANES,
  errorFinding,
  isUpstream,
  NODES,
  SCOPES,
  warningFinding,
} from '../finding.ts';

const MIN_CPUS = 2;
const MIN_MEMORY_MB = 1700;

/** What the machine has: rights, processors, memory, a name. */
export const MACHINE_CHECKS: readonly Check[] = [
  {
    name: 'IsPrivilegedUser',
    scopes: SCOPES,
    severity: 'error',
    looksAt: 'the user id, which must be 0',
    stage: 'first',
    async observe(host, { isDryRun }) {
      const { stdout } = await host.run(['id', '-u']);
      const uid = stdout.trim();
      if (uid === '0') return [];
      const evidence = `id -u says ${uid}`;
      if (isDryRun) return [warningFinding('IsPrivilegedUser', 'not all can be seen without root', evidence)];
      return [errorFinding('IsPrivilegedUser', 'root is needed', evidence, 'sudo tkadm ...')];
    },
  },
  {
    name: 'NumCPU',
    scopes: CONTROL_PLANES,
    severity: 'error',
    looksAt: `processors that are online, at least ${MIN_CPUS}`,
    async observe(host) {
      const count = parseCpuCount(await host.readFile('/sys/devices/system/cpu/online'));
      if (count === undefined || count >= MIN_CPUS) return [];
      const evidence = `/sys/devices/system/cpu/online shows ${count}`;
      return [errorFinding('NumCPU', `a control plane needs ${MIN_CPUS} CPUs`, evidence)];
    },
  },
  {
    name: 'Mem',
    scopes: CONTROL_PLANES,
    severity: 'error',
    looksAt: `memory of the machine, at least ${MIN_MEMORY_MB} MB`,
    async observe(host) {
      const kib = Number(/MemTotal:\s+(\d+)/.exec((await host.readFile('/proc/meminfo')) ?? '')?.[1] ?? 0);
      const megabytes = Math.floor((kib * 1024) / 1e6);
      if (kib === 0 || megabytes >= MIN_MEMORY_MB) return [];
      const evidence = `/proc/meminfo shows ${megabytes} MB`;
      return [errorFinding('Mem', `a control plane needs ${MIN_MEMORY_MB} MB of memory`, evidence)];
    },
  },
  {
    name: 'Swap',
    scopes: NODES,
    severity: 'warning',
    looksAt: '/proc/swaps, and /etc/fstab for the next boot',
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
          alters: [{ kind: 'swap' }],
        },
      ];
    },
  },
  {
    name: 'Hostname',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded: 'the node name is a DNS name (the embedded programs use addresses, so it need not resolve)',
      upstream: 'the node name is a DNS name and resolves',
    },
    async observe(host, input) {
      const { nodeName } = input;
      const isName =
        /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(nodeName) &&
        nodeName.length <= 253;
      if (!isName) {
        const reason = `"${nodeName}" is no DNS name`;
        const evidence = 'lower-case letters, digits, "-" and "." are allowed';
        return [errorFinding('Hostname', reason, evidence, 'tkadm ... --node-name NAME')];
      }
      // A name server that is away would cost seconds for what nothing needs.
      if (!isUpstream(input)) return [];
      const { exitCode } = await host.run(['getent', 'hosts', nodeName], { timeoutMs: 2_000 });
      // 2: not found; anything else says that getent could not look.
      if (exitCode !== 2) return [];
      const address = input.advertiseAddress ?? 'ADDRESS';
      return [
        warningFinding(
          'Hostname',
          `the name "${nodeName}" has no address`,
          `getent hosts ${nodeName} finds none`,
          `echo "${address} ${nodeName}" >> /etc/hosts`,
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
