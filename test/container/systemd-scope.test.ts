import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { DBusConnection } from '../../runtime/container/systemd/dbus-connection.ts';
import {
  decodeMessage,
  encodeMessage,
  MESSAGE,
  messageSize,
} from '../../runtime/container/systemd/dbus-message.ts';
import { decodeValues, encodeValues, splitSignature } from '../../runtime/container/systemd/dbus-values.ts';
import { parseScopePath } from '../../runtime/container/systemd/scope-place.ts';
import { buildLimitProperties } from '../../runtime/container/systemd/scope-properties.ts';

/** D-Bus specification, "Marshaling": what each type is in bytes. */
const VALUES = [
  { signature: 's', values: ['foo'], bytes: '03000000666f6f00' },
  { signature: 'yu', values: [1, 2], bytes: '0100000002000000' },
  { signature: 'at', values: [[5n]], bytes: '08000000000000000500000000000000' },
  { signature: 'at', values: [[]], bytes: '0000000000000000' },
  { signature: 'v', values: [{ signature: 'b', value: true }], bytes: '0162000001000000' },
  { signature: 'a(sy)', values: [[['a', 1]]], bytes: '070000000000000001000000610001' },
  { signature: 'i', values: [-2], bytes: 'feffffff' },
  { signature: 'x', values: [-2n], bytes: 'feffffffffffffff' },
] as const;

t.test('encodeValues() and decodeValues() are the inverse of each other', (t) => {
  for (const { signature, values, bytes } of VALUES) {
    t.strictSame(decodeValues(signature, encodeValues(signature, values)), values, signature);
    t.equal(encodeValues(signature, values).toString('hex'), bytes, signature);
  }
  t.strictSame(splitSignature('ssa(sv)a(sa(sv))'), ['s', 's', 'a(sv)', 'a(sa(sv))']);
  t.end();
});

t.test('a message that is cut off or damaged is refused', (t) => {
  const message = {
    type: MESSAGE.call,
    serial: 7,
    path: '/a',
    interface: 'b.c',
    member: 'D',
    signature: 'sas',
    body: ['x', ['y', 'z']],
  } as const;
  const bytes = encodeMessage(message);
  t.strictSame(decodeMessage(bytes), message);
  t.equal(messageSize(bytes), bytes.length);
  t.equal(messageSize(bytes.subarray(0, 15)), undefined);
  t.throws(() => decodeMessage(bytes.subarray(0, 40)));
  t.throws(() => messageSize(Buffer.concat([Buffer.from('B'), bytes.subarray(1)])), /little endian/);
  for (const signature of ['a', '(s', '()', 'a()', 'sz'])
    t.throws(() => splitSignature(signature), signature);
  t.end();
});

t.test('parseScopePath() follows the names of slices', (t) => {
  for (const [text, path] of [
    ['machine.slice:libpod:1f', '/machine.slice/libpod-1f.scope'],
    ['a-b-c.slice:p:n', '/a.slice/a-b.slice/a-b-c.slice/p-n.scope'],
    ['-.slice:p:n', '/p-n.scope'],
    [':p:n', '/system.slice/p-n.scope'],
    ['a.slice::n', '/a.slice/n.scope'],
    ['', '/system.slice/tkadm-id.scope'],
    [undefined, '/system.slice/tkadm-id.scope'],
  ] as const)
    t.equal(parseScopePath(text, 'id'), path);
  for (const text of [
    '/a/b',
    'a:b',
    'a.slice:p:',
    'a:p:n',
    'a--b.slice:p:n',
    '-a.slice:p:n',
    'a.slice:p:n/..',
    'a.slice:p:n.slice',
  ])
    t.throws(() => parseScopePath(text, 'id'), { code: 'CONTAINER_STATE' }, text);
  t.end();
});

const DEVICES = 'Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n';
const INFINITY = 2n ** 64n - 1n;

t.test('buildLimitProperties() speaks of what the cgroups and systemd have', (t) => {
  const build = (
    resources: Parameters<typeof buildLimitProperties>[0],
    traits: { readonly cgroupVersion: 1 | 2; readonly version?: number },
  ) =>
    buildLimitProperties(resources, { version: 252, devices: DEVICES, ...traits }).map(
      ([name, { value }]) => [name, value],
    );
  const limits = {
    memory: { limit: 1000, swap: 1500, reservation: 500 },
    cpu: { shares: 1024, quota: 25_000, period: 50_000, cpus: '0,9-10', mems: '0' },
    pids: { limit: 5 },
  };
  t.strictSame(build(limits, { cgroupVersion: 2 }), [
    ['MemoryMax', 1000n],
    ['MemoryLow', 500n],
    ['MemorySwapMax', 500n],
    ['CPUWeight', 39n],
    ['CPUQuotaPeriodUSec', 50_000n],
    ['CPUQuotaPerSecUSec', 500_000n],
    ['TasksMax', 5n],
    ['AllowedCPUs', [1, 6]],
    ['AllowedMemoryNodes', [1]],
  ]);
  t.strictSame(build(limits, { cgroupVersion: 1, version: 239 }), [
    ['MemoryLimit', 1000n],
    ['CPUShares', 1024n],
    ['CPUQuotaPerSecUSec', 500_000n],
    ['TasksMax', 5n],
  ]);
  t.strictSame(
    build({ memory: { limit: -1 }, cpu: { quota: -1 }, pids: { limit: 0 } }, { cgroupVersion: 2 }),
    [
      ['MemoryMax', INFINITY],
      ['CPUQuotaPerSecUSec', INFINITY],
      ['TasksMax', INFINITY],
    ],
  );
  t.strictSame(build({ devices: [{ allow: true, access: 'rwm' }] }, { cgroupVersion: 2 }), [
    ['DevicePolicy', 'auto'],
    ['DeviceAllow', []],
  ]);
  const devices = [
    { allow: false, access: 'rwm' },
    { allow: true, type: 'b', major: 8, access: 'r' },
    { allow: true, type: 'c', major: 77, access: 'r' },
  ];
  const [policy, none, list] = build({ devices }, { cgroupVersion: 2 });
  t.strictSame(
    [policy, none],
    [
      ['DevicePolicy', 'strict'],
      ['DeviceAllow', []],
    ],
  );
  const allowed = list?.[1] as readonly (readonly string[])[];
  t.ok(
    ['block-sd r', 'char-* m', '/dev/char/1:3 rwm', 'char-pts rwm'].every((one) =>
      allowed.map((row) => row.join(' ')).includes(one),
    ),
  );
  t.notOk(
    allowed.some(([name]) => name?.includes('77')),
    'no driver has the number',
  );
  t.end();
});

t.test('DBusConnection ends what waits when the other side goes', async (t) => {
  // A path of a socket has 107 bytes at most.
  const directory = mkdtempSync(join(tmpdir(), 'tkadm-dbus-'));
  const path = join(directory, 's');
  const server = createServer((socket) => {
    // Answers AUTH, and closes at the first message.
    socket.once('data', () => {
      socket.write('OK 0\r\n');
      socket.once('data', () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  const { signal } = new AbortController();
  const connection = await DBusConnection.open(path, signal);
  const signals = connection.signals(signal)[Symbol.asyncIterator]();
  const next = signals.next();
  const call = connection.call({ path: '/', interface: 'a.b', member: 'C' });
  await Promise.all([t.rejects(call, /closed/), t.rejects(next, /closed/)]);
  await t.rejects(connection.call({ path: '/', interface: 'a.b', member: 'C' }), /closed/);
  await t.rejects(DBusConnection.open(`${path}-none`, signal), { code: 'ENOENT' });
});
