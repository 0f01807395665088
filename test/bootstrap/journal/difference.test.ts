import { existsSync } from 'node:fs';
import t from 'tap';
import type { Change } from '../../../bootstrap/journal/change.ts';
import {
  compareSnapshots,
  type Difference,
  formatDifference,
  isOwnDifference,
} from '../../../bootstrap/journal/difference.ts';
import { SECTIONS, type Snapshot, takeSnapshot } from '../../../bootstrap/journal/snapshot.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { createPrivateMachine } from '../../hosts/private-machine.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const snapshot = (sections: Snapshot['sections']): Snapshot => ({ time: '', sections });

t.test('compareSnapshots() names what is more, less and other', async (t) => {
  const before = snapshot({ files: { '/a': 'x', '/b': 'x', '/c': 'x' }, nftables: { 'ip a': '1' } });
  const after = snapshot({ files: { '/a': 'x', '/b': 'y', '/d': 'x' } });
  t.same(compareSnapshots(before, after), [
    { section: 'files', name: '/b', before: 'x', after: 'y' },
    { section: 'files', name: '/c', before: 'x', after: undefined },
    { section: 'files', name: '/d', before: undefined, after: 'x' },
  ]);
  t.same(compareSnapshots(before, before), []);
});

t.test('isOwnDifference() tells what tkadm answers for from what others do', async (t) => {
  const changes: readonly Change[] = [
    { kind: 'file', path: '/etc/x', before: 'absent' },
    { kind: 'packages', wanted: 'nftables', added: ['nftables', 'libnftables1:amd64'] },
  ];
  const rows: readonly [Difference['section'], string, boolean][] = [
    ['files', '/etc/x', true],
    ['files', '/etc/y', false],
    ['links', 'tkadm0', true],
    ['links', 'wg0', false],
    ['routes', '-4 dst 10.244.1.0/24 gateway 10.0.0.2 dev eth0 protocol 116', true],
    ['routes', '-4 dst 10.9.0.0/24 dev eth0 protocol static', false],
    ['nftables', 'ip kube-proxy', true],
    ['nftables', 'inet filter', false],
    ['cgroups', '/sys/fs/cgroup/cpu/kubepods', true],
    ['cgroups', '/sys/fs/cgroup/cpu/docker', false],
    ['packages', 'libnftables1:amd64', true],
    ['packages', 'vim', false],
    ['kernel parameters', '/proc/sys/net/ipv4/ip_forward', true],
    ['processes', 'pid 5', true],
  ];
  for (const [section, name, expected] of rows)
    t.equal(isOwnDifference({ section, name, after: 'there' }, changes), expected, `${section} ${name}`);
  t.notOk(isOwnDifference({ section: 'links', name: 'tkadm0', before: 'there' }, []), 'gone is not left');
  const veth = { section: 'kernel modules', name: 'veth' } as const;
  t.ok(isOwnDifference({ ...veth, after: 'unused' }, []));
  t.notOk(isOwnDifference({ ...veth, after: 'in use' }, []), 'somebody else has come to need it');
  t.notOk(isOwnDifference({ ...veth, before: 'unused' }, []));
});

t.test('formatDifference() is one line without digests', async (t) => {
  const file = (digit: string) => `file 600 0:0 ${digit.repeat(64)}`;
  const row = { section: 'files', name: '/x' } as const;
  t.equal(formatDifference({ ...row, after: file('a') }), '+ files: /x (file 600 0:0)');
  t.equal(formatDifference({ ...row, before: file('a') }), '- files: /x (file 600 0:0)');
  t.equal(formatDifference({ ...row, before: file('a'), after: file('b') }), '~ files: /x (other content)');
});

t.test('takeSnapshot() sees each kind of change of a machine', { skip, timeout: 60_000 }, async (t) => {
  const machine = await createPrivateMachine();
  t.teardown(() => machine.close());
  // What is read without a command is read here: commands alone are the machine's.
  const host = { ...createLocalHost(), run: machine.host.run, readFile: machine.host.readFile };
  const look = () => takeSnapshot(host, () => new Date(0));
  const before = await look();
  // The one has no program here, the other no modules with some kernels.
  const optional = ['iptables', ...(existsSync('/proc/modules') ? [] : ['kernel modules'])];
  for (const section of SECTIONS) if (!optional.includes(section)) t.ok(before.sections[section], section);
  const script = `ip link add b0 type bridge; ip addr add 10.8.0.1/24 dev eth0
ip route add 10.7.0.0/24 via 10.9.0.9 proto 116; ip rule add fwmark 7 table 100
nft add table inet mine; mount -t tmpfs x /mnt`;
  await machine.host.run(['sh', '-c', `PATH=$PATH:/usr/sbin:/sbin; ${script}`]);
  const found = compareSnapshots(before, await look())
    .filter(({ section }) =>
      ['links', 'addresses', 'routes', 'rules', 'nftables', 'mounts'].includes(section),
    )
    .map(({ section, name }) => `${section}: ${name}`);
  t.match(
    found.sort().join('\n'),
    /addresses: eth0 10\.8\.0\.1\/24\n(.*\n)*links: b0\n(.*\n)*mounts: \/mnt.*\n(.*\n)*nftables: inet mine\n(.*\n)*routes: -4 .*10\.7\.0\.0\/24.*protocol 116.*\n(.*\n)*rules: -4 .*fwmark/,
  );
});
