import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab, LabHost } from '../../test/hosts/lab.ts';
import { pathOn, withLab } from '../cluster.ts';
import { CLUSTER_FILE, formatClusterFile } from '../cluster-file.ts';
import { type Bench, type Subject, timed } from '../measure.ts';

/** nftables, in place of a line that loses packets. */
const LOSS = [
  'add table inet loss',
  'add chain inet loss in { type filter hook input priority 0; }',
  'add rule inet loss in numgen random mod 100 < 5 drop',
];
/** What runs over this sshd sees a clock that is an hour ahead (Debian's faketime). */
const AHEAD = 'SetEnv LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1 FAKETIME=+3600s';

/** The last column of a table that `apply` prints: what became of each host. */
type Outcomes = ReadonlyMap<string, string>;

/**
 * `tkadm apply` to many hosts, of which one cannot be reached, one has a full disk, one a clock that is off, one is
 * rebooted in the middle; all lose packets. The others join, and a second run without the faults completes.
 */
export const faultsSubject: Subject = {
  name: 'faults',
  rows: [
    { key: 'faults.first', what: 'apply: 20 hosts (--hosts), five kinds of faults, first run', unit: 's' },
    {
      key: 'faults.others',
      what: 'apply: hosts without a fault of their own that did not join',
      unit: 'n',
      bar: 0,
    },
    { key: 'faults.second', what: 'apply: second run, without the faults', unit: 's' },
    { key: 'faults.left', what: 'apply: hosts that the second run left behind', unit: 'n', bar: 0 },
  ],
  async run(bench) {
    const names = Array.from({ length: bench.hosts }, (_, index) => `bench-w${index + 1}`);
    const hostNames = ['bench-admin', 'bench-cp', ...names];
    await withLab({ hostNames, withoutNode: names }, (lab) => measure(bench, lab));
  },
};

async function measure(bench: Bench, lab: Lab): Promise<void> {
  const [admin, controlPlane, ...machines] = lab.hosts as [LabHost, LabHost, ...LabHost[]];
  const [full, clock, rebooted, ...others] = machines.toReversed() as [
    LabHost,
    LabHost,
    LabHost,
    ...LabHost[],
  ];
  await full.exec(['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', '/var/lib/tkadm']);
  await clock.exec(['/usr/sbin/sshd', '-f', '/etc/ssh/sshd_lab_config', '-p', '2222', '-o', AHEAD]);
  for (const host of [controlPlane, ...machines]) for (const rule of LOSS) await host.exec(['nft', rule]);
  const write = (rows: readonly string[]) =>
    writeFileSync(pathOn(admin, CLUSTER_FILE), formatClusterFile(controlPlane, rows));
  const row = (host: LabHost, ssh = '') => `{address: ${host.address}, role: worker${ssh}}`;
  const nobody = `{address: ${lab.gateway.replace(/\.1$/, '.250')}, role: worker}`;
  const healthy = [...others, rebooted, full].map((host) => row(host));
  write([...healthy, row(clock, ', ssh: {port: 2222}'), nobody]);
  const first = await runApply(bench, admin, async (text) => {
    if (!text.includes(`${rebooted.address}: [kubelet-start] start tkadm-agent`)) return false;
    await rebooted.reboot();
    return true;
  });
  bench.record('faults.first', first.seconds);
  bench.record('faults.others', countFailed(first.outcomes, [controlPlane, ...others]));
  bench.note(first.table);
  await full.exec(['umount', '/var/lib/tkadm']);
  for (const host of [controlPlane, ...machines]) await host.exec(['nft', 'delete table inet loss']);
  write([...healthy, row(clock)]);
  const second = await runApply(bench, admin, async () => true);
  bench.record('faults.second', second.seconds);
  bench.record('faults.left', countFailed(second.outcomes, [controlPlane, ...machines]));
  bench.note(second.table);
}

function countFailed(outcomes: Outcomes, hosts: readonly LabHost[]): number {
  return hosts.filter(({ address }) => (outcomes.get(address) ?? 'failed') === 'failed').length;
}

/** Runs it on the administrator's machine; `meddle` sees the output until it has done what it waits for. */
async function runApply(bench: Bench, admin: LabHost, meddle: (text: string) => Promise<boolean>) {
  const argv = ['node', join(bench.root, 'dist/tkadm.js'), 'apply', '-f', CLUSTER_FILE];
  const running = admin.spawn(argv, { env: { KUBECONFIG: '/root/bench.kubeconfig' } });
  let text = '';
  let isDone = false;
  running.stdout?.on('data', async (chunk: Buffer) => {
    text += chunk;
    if (isDone) return;
    isDone = true;
    isDone = await meddle(text);
  });
  const { ms } = await timed(async () => running);
  const table = text.slice(text.lastIndexOf('\nHOST '));
  const outcomes = new Map(
    [...table.matchAll(/^([\d.]+) +\S+ +(\S+)/gm)].map(([, host, end]) => [host!, end!]),
  );
  return { seconds: ms / 1000, table, outcomes };
}
