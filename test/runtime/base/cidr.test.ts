import t from 'tap';
import {
  cidrContains,
  cidrSize,
  cidrsOverlap,
  formatCidr,
  formatHostPort,
  formatIp,
  ipFromBytes,
  ipToBytes,
  nthAddress,
  parseCidr,
  parseIp,
} from '../../../runtime/base/cidr.ts';

const ADDRESSES: readonly (readonly [string, string | undefined])[] = [
  ['10.0.0.1', '10.0.0.1'],
  ['255.255.255.255', '255.255.255.255'],
  ['256.0.0.1', undefined],
  ['10.0.0', undefined],
  ['010.0.0.1', undefined],
  ['', undefined],
  ['::', '::'],
  ['::1', '::1'],
  ['FD00::', 'fd00::'],
  ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ['1:2:3:4:5:6:7:8:9', undefined],
  ['1::2::3', undefined],
  ['::12345', undefined],
  ['1:2:3:4:5:6:7', undefined],
  [':1', undefined],
  ['fe80::1%eth0', undefined],
];

t.test('parseIp() and formatIp()', (t) => {
  for (const [text, expected] of ADDRESSES) {
    const ip = parseIp(text);
    t.equal(ip && formatIp(ip), expected, JSON.stringify(text));
    if (ip) t.same(ipFromBytes(ipToBytes(ip)), ip);
  }
  t.end();
});

t.test('parseCidr() drops host bits', (t) => {
  const cases = [
    ['10.96.3.4/12', '10.96.0.0/12'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['10.0.0.1/32', '10.0.0.1/32'],
    ['fd00::1/56', 'fd00::/56'],
    ['10.0.0.0/33', undefined],
    ['10.0.0.0', undefined],
    ['10.0.0.0/', undefined],
    ['10.0.0.0/08', undefined],
    ['::/129', undefined],
  ] as const;
  for (const [text, expected] of cases) {
    const cidr = parseCidr(text);
    t.equal(cidr && formatCidr(cidr), expected, text);
  }
  t.end();
});

t.test('ranges', (t) => {
  const range = (text: string) => parseCidr(text)!;
  t.equal(cidrSize(range('10.0.0.0/29')), 8n);
  t.equal(nthAddress(range('10.96.0.0/12'), 10), '10.96.0.10');
  t.equal(nthAddress(range('fd00::/112'), 10), 'fd00::a');
  t.equal(nthAddress(range('10.0.0.0/29'), 8), undefined);
  t.ok(cidrsOverlap(range('10.0.0.0/8'), range('10.244.0.0/16')));
  t.ok(cidrsOverlap(range('10.244.0.0/16'), range('10.0.0.0/8')));
  t.notOk(cidrsOverlap(range('10.96.0.0/12'), range('10.112.0.0/16')));
  t.notOk(cidrsOverlap(range('0.0.0.0/0'), range('::/0')));
  t.ok(cidrContains(range('10.0.0.0/24'), parseIp('10.0.0.255')!));
  t.notOk(cidrContains(range('10.0.0.0/24'), parseIp('10.0.1.0')!));
  t.equal(formatHostPort('::1', 80), '[::1]:80');
  t.equal(formatHostPort('a', 80), 'a:80');
  t.end();
});
