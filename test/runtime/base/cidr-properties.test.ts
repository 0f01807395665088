import { BlockList, isIPv4, isIPv6 } from 'node:net';
import t from 'tap';
import {
  ADDRESS_BITS,
  type Cidr,
  cidrContains,
  cidrSize,
  cidrsOverlap,
  formatCidr,
  formatIp,
  type IpFamily,
  ipFromBytes,
  ipToBytes,
  nthAddress,
  nthSubnet,
  parseCidr,
  parseIp,
} from '../../../runtime/base/cidr.ts';
import { createRandom, type Random } from '../../random.ts';

const SEED = 20261121;
const RUNS = 2000;

/** The first and last address of a range, by arithmetic alone. */
function bounds({ family, address, prefixLength }: Cidr): readonly [bigint, bigint] {
  const size = 2n ** BigInt(ADDRESS_BITS[family] - prefixLength);
  const first = (address / size) * size;
  return [first, first + size - 1n];
}

function randomIp(random: Random, family: IpFamily): bigint {
  const value = random.bigint(ADDRESS_BITS[family]);
  // Runs of zeros are what IPv6 texts shorten.
  return family === 6 && random.chance(0.7)
    ? value & (random.bigint(8) << BigInt(16 * random.int(8)))
    : value;
}

function randomCidr(random: Random, family: IpFamily): Cidr {
  const text = formatIp({ family, value: randomIp(random, family) });
  return parseCidr(`${text}/${random.int(ADDRESS_BITS[family] + 1)}`)!;
}

/** A range near another one: inside, around, beside, or anywhere. */
function relatedCidr(random: Random, cidr: Cidr): Cidr {
  const bits = ADDRESS_BITS[cidr.family];
  const [first, last] = bounds(cidr);
  const value = random.pick([first, last, last + 1n, first - 1n, randomIp(random, cidr.family)]);
  const inRange = value < 0n || value >= 2n ** BigInt(bits) ? first : value;
  return parseCidr(`${formatIp({ family: cidr.family, value: inRange })}/${random.int(bits + 1)}`)!;
}

for (const family of [4, 6] as const) {
  const type = `ipv${family}` as const;

  t.test(`IPv${family} addresses survive text and bytes; Node.js agrees on the text`, (t) => {
    const random = createRandom(SEED + family);
    const wrong: string[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const ip = { family, value: randomIp(random, family) };
      const text = formatIp(ip);
      const seen = { ip: parseIp(text), bytes: ipFromBytes(ipToBytes(ip)) };
      const isText = family === 4 ? isIPv4(text) : isIPv6(text);
      const canonical = family === 4 ? text : new URL(`http://[${text}]`).hostname.slice(1, -1);
      if (!isText || canonical !== text) wrong.push(`${ip.value} is "${text}", in Node.js "${canonical}"`);
      if (JSON.stringify(seen, toText) !== JSON.stringify({ ip, bytes: ip }, toText)) wrong.push(text);
    }
    t.same(wrong, []);
    t.end();
  });

  t.test(`IPv${family} ranges: first address, size, membership`, (t) => {
    const random = createRandom(SEED + 10 + family);
    const wrong: string[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const cidr = randomCidr(random, family);
      const [first, last] = bounds(cidr);
      const name = formatCidr(cidr);
      if (cidr.address !== first) wrong.push(`${name} begins at ${cidr.address}, not ${first}`);
      if (cidrSize(cidr) !== last - first + 1n) wrong.push(`size of ${name}`);
      const index = random.int(2 ** 31);
      const expected =
        BigInt(index) > last - first ? undefined : formatIp({ family, value: first + BigInt(index) });
      if (nthAddress(cidr, index) !== expected) wrong.push(`address ${index} of ${name}`);
      if (nthAddress(cidr, -1) !== undefined) wrong.push(`address -1 of ${name}`);
      const list = new BlockList();
      list.addSubnet(formatIp({ family, value: first }), cidr.prefixLength, type);
      for (const value of [first, last, first - 1n, last + 1n, randomIp(random, family)]) {
        if (value < 0n || value >= 2n ** BigInt(ADDRESS_BITS[family])) continue;
        const isInside = value >= first && value <= last;
        if (cidrContains(cidr, { family, value }) !== isInside) wrong.push(`${name} and ${value}`);
        if (list.check(formatIp({ family, value }), type) !== isInside)
          wrong.push(`BlockList: ${name}, ${value}`);
      }
    }
    t.same(wrong, []);
    t.end();
  });

  t.test(`IPv${family} ranges overlap when they share an address`, (t) => {
    const random = createRandom(SEED + 20 + family);
    const wrong: string[] = [];
    let overlaps = 0;
    for (let run = 0; run < RUNS; run += 1) {
      const a = randomCidr(random, family);
      const b = relatedCidr(random, a);
      const [firstA, lastA] = bounds(a);
      const [firstB, lastB] = bounds(b);
      const expected = firstA <= lastB && firstB <= lastA;
      overlaps += expected ? 1 : 0;
      if (cidrsOverlap(a, b) !== expected) wrong.push(`${formatCidr(a)} and ${formatCidr(b)}`);
      if (cidrsOverlap(b, a) !== expected) wrong.push(`${formatCidr(b)} and ${formatCidr(a)}`);
      if (cidrsOverlap(a, randomCidr(random, family === 4 ? 6 : 4))) wrong.push('two families');
    }
    t.ok(overlaps > RUNS / 10 && overlaps < RUNS * 0.9, `both cases occur: ${overlaps} of ${RUNS}`);
    t.same(wrong, []);
    t.end();
  });

  t.test(`IPv${family} ranges are split into subnets that follow each other`, (t) => {
    const random = createRandom(SEED + 30 + family);
    const wrong: string[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const cidr = randomCidr(random, family);
      const longest = ADDRESS_BITS[family];
      const prefixLength = cidr.prefixLength + random.int(longest - cidr.prefixLength + 1);
      const count = 2n ** BigInt(prefixLength - cidr.prefixLength);
      const index = random.pick([0n, count - 1n, random.bigint(longest) % count]);
      const subnet = nthSubnet(cidr, prefixLength, index);
      const size = 2n ** BigInt(longest - prefixLength);
      if (subnet?.address !== cidr.address + index * size || subnet.prefixLength !== prefixLength) {
        wrong.push(`/${prefixLength} number ${index} of ${formatCidr(cidr)}`);
      }
      const last = nthSubnet(cidr, prefixLength, count - 1n)!;
      if (bounds(last)[1] !== bounds(cidr)[1]) wrong.push(`the last /${prefixLength} of ${formatCidr(cidr)}`);
      for (const outside of [-1n, count]) {
        if (nthSubnet(cidr, prefixLength, outside)) wrong.push(`number ${outside} of ${formatCidr(cidr)}`);
      }
      if (nthSubnet(cidr, cidr.prefixLength - 1, 0n)) wrong.push('a shorter prefix');
      if (nthSubnet(cidr, longest + 1, 0n)) wrong.push('a prefix longer than an address');
    }
    t.same(wrong, []);
    t.end();
  });
}

function toText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
