import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { buildDeviceRules } from '../../runtime/container/cgroup/cgroup-limits.ts';
import { setDeviceProgram } from '../../runtime/container/cgroup/device-cgroup.ts';
import { buildDeviceProgram } from '../../runtime/container/cgroup/device-filter.ts';
import { loadLibc } from '../../runtime/container/libc.ts';
import type { OciResources } from '../../runtime/container/oci-spec.ts';

type Rules = NonNullable<OciResources['devices']>;

const NOTHING = { allow: false, access: 'rwm' };
const KERNEL_LOG = [1, 11] as const;
const ZERO = [1, 5] as const;
const LOOP = [7, 200] as const;

/** The cgroup v2 mount of this machine, which may have v1 hierarchies beside it. */
const mountPoint = /^\d+ \d+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(
  readFileSync('/proc/self/mountinfo', 'utf8'),
)?.[1];
const obstacle =
  process.getuid?.() !== 0 ? 'needs root' : mountPoint === undefined ? 'needs a mounted cgroup v2' : false;

/** What is tried: opening a device for reading or writing, making one. */
const ATTEMPTS = {
  r: (path: string) => `: < ${path}`,
  w: (path: string) => `: > ${path}`,
  rw: (path: string) => `: <> ${path}`,
};

const CASES: readonly {
  readonly name: string;
  readonly rules: Rules;
  readonly type: 'c' | 'b';
  readonly device: readonly [number, number];
  readonly access: keyof typeof ATTEMPTS | 'm';
  readonly isAllowed: boolean;
}[] = [
  { name: 'nothing', rules: [NOTHING], type: 'c', device: ZERO, access: 'r', isAllowed: false },
  { name: 'nothing', rules: [NOTHING], type: 'c', device: ZERO, access: 'm', isAllowed: false },
  { name: 'no rule', rules: [], type: 'c', device: ZERO, access: 'r', isAllowed: false },
  {
    name: 'one device',
    rules: [NOTHING, { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' }],
    type: 'c',
    device: ZERO,
    access: 'rw',
    isAllowed: true,
  },
  {
    name: 'one device',
    rules: [NOTHING, { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' }],
    type: 'c',
    device: KERNEL_LOG,
    access: 'r',
    isAllowed: false,
  },
  {
    name: 'reading a device',
    rules: [NOTHING, { allow: true, type: 'c', major: 1, minor: 5, access: 'r' }],
    type: 'c',
    device: ZERO,
    access: 'r',
    isAllowed: true,
  },
  {
    name: 'reading a device',
    rules: [NOTHING, { allow: true, type: 'c', major: 1, minor: 5, access: 'r' }],
    type: 'c',
    device: ZERO,
    access: 'rw',
    isAllowed: false,
  },
  {
    name: 'a major',
    rules: [NOTHING, { allow: true, type: 'c', major: 1, access: 'rwm' }],
    type: 'c',
    device: KERNEL_LOG,
    access: 'r',
    isAllowed: true,
  },
  {
    name: 'a major without one minor',
    rules: [
      NOTHING,
      { allow: true, type: 'c', major: 1, access: 'rwm' },
      { allow: false, type: 'c', major: 1, minor: 11, access: 'r' },
    ],
    type: 'c',
    device: KERNEL_LOG,
    access: 'rw',
    isAllowed: false,
  },
  {
    name: 'a major without writing to one minor',
    rules: [
      NOTHING,
      { allow: true, type: 'c', major: 1, access: 'rwm' },
      { allow: false, type: 'c', major: 1, minor: 5, access: 'w' },
    ],
    type: 'c',
    device: ZERO,
    access: 'r',
    isAllowed: true,
  },
  {
    name: 'every character device',
    rules: [NOTHING, { allow: true, type: 'c', access: 'rwm' }],
    type: 'b',
    device: LOOP,
    access: 'm',
    isAllowed: false,
  },
  {
    name: 'a rule before "nothing"',
    rules: [{ allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' }, NOTHING],
    type: 'c',
    device: ZERO,
    access: 'r',
    isAllowed: false,
  },
  {
    name: "a container's defaults",
    rules: buildDeviceRules({ devices: [NOTHING] }) ?? [],
    type: 'c',
    device: ZERO,
    access: 'rw',
    isAllowed: true,
  },
  {
    name: "a container's defaults",
    rules: buildDeviceRules({ devices: [NOTHING] }) ?? [],
    type: 'c',
    device: KERNEL_LOG,
    access: 'r',
    isAllowed: false,
  },
  {
    name: "a container's defaults",
    rules: buildDeviceRules({ devices: [NOTHING] }) ?? [],
    type: 'b',
    device: LOOP,
    access: 'm',
    isAllowed: true,
  },
  {
    name: 'everything',
    rules: [{ allow: true }],
    type: 'c',
    device: KERNEL_LOG,
    access: 'r',
    isAllowed: true,
  },
];

t.test('setDeviceProgram()', { skip: obstacle }, async (t) => {
  const libc = loadLibc();
  const directory = join(mountPoint ?? '', `tkadm-test-${randomBytes(4).toString('hex')}`);
  mkdirSync(directory);
  t.teardown(() => rmdirSync(directory));
  const files = t.testdir();

  for (const { name, rules, type, device, access, isAllowed } of CASES) {
    const title = `${name}: ${access} of ${type} ${device.join(':')} is ${isAllowed ? 'allowed' : 'refused'}`;
    await t.test(title, async (t) => {
      setDeviceProgram(libc, directory, buildDeviceProgram(rules));
      const node = join(files, 'node');
      const make = ['mknod', node, type, ...device.map(String)];
      if (access !== 'm') execFileSync(make[0] ?? '', make.slice(1));
      const attempt = access === 'm' ? make.join(' ') : ATTEMPTS[access](node);
      const script = `echo $$ > ${directory}/cgroup.procs && exec 3>&2 && ${attempt}`;
      const { status, stderr } = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
      if (isAllowed) t.equal(status, 0, stderr);
      else t.match(stderr, /Operation not permitted/);
      if (existsSync(node)) rmSync(node);
    });
  }
});

t.test('buildDeviceProgram() is not needed where everything is allowed', async (t) => {
  t.equal(buildDeviceProgram([NOTHING, { allow: true, access: 'rwm' }]), undefined);
  t.type(buildDeviceProgram([{ allow: true, access: 'rwm' }, NOTHING]), Buffer);
});
