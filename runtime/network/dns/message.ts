import { type Answer, decode, type Packet, TRUNCATED_RESPONSE } from 'dns-packet';

const MAX_UDP_BYTES = 512;
const OPT_TYPE = 41;

/** The message, or undefined when it is none. */
export function tryDecode(message: Buffer): Packet | undefined {
  try {
    return decode(message);
  } catch {
    return undefined;
  }
}

/** RFC 6891: an OPT record in the query is answered with one. */
export function echoOptions(query: Packet): Answer[] {
  const option = query.additionals?.find((row) => row.type === 'OPT');
  if (!option) return [];
  return [
    {
      type: 'OPT',
      name: '.',
      udpPayloadSize: 1232,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    } as never,
  ];
}

/** Bytes that the client takes over UDP (RFC 6891 §6.2.3). */
export function udpLimit(query: Packet): number {
  const option = query.additionals?.find((row) => row.type === 'OPT') as
    | { udpPayloadSize?: number }
    | undefined;
  return Math.max(MAX_UDP_BYTES, Math.min(option?.udpPayloadSize ?? MAX_UDP_BYTES, 1232));
}

/** A kept answer: its name, and how long it was kept. */
export interface CacheHit {
  readonly name: string;
  readonly ageSeconds: number;
}

/** A kept answer with the id and the question's letters of this query, and lifetimes that went on. */
export function withQuestion(answer: Buffer, query: Buffer, { name, ageSeconds }: CacheHit): Buffer {
  const copy = Buffer.from(answer);
  query.copy(copy, 0, 0, 2);
  if (name !== '') query.copy(copy, 12, 12, 12 + Buffer.byteLength(name) + 2);
  for (const offset of ttlOffsets(copy)) {
    copy.writeUInt32BE(Math.max(0, copy.readUInt32BE(offset) - ageSeconds), offset);
  }
  return copy;
}

/**
 * The query as it is sent on: its header and question, and of EDNS only the size and the DO bit. Options such as
 * cookies are between the client and this server (RFC 7873), and would differ in each query.
 */
export function normalizeQuery(message: Buffer, query: Packet): Buffer {
  const end = skipName(message, 12) + 4;
  const copy = Buffer.from(message.subarray(0, end));
  const option = query.additionals?.find((row) => row.type === 'OPT') as OptRecord | undefined;
  copy.writeUInt16BE(1, 4);
  copy.fill(0, 6, 12);
  if (!option) return copy;
  copy.writeUInt16BE(1, 10);
  const edns = Buffer.alloc(11);
  edns.writeUInt16BE(OPT_TYPE, 1);
  edns.writeUInt16BE(option.udpPayloadSize ?? MAX_UDP_BYTES, 3);
  edns.writeUInt16BE((option.flags ?? 0) & 0x8000, 7);
  return Buffer.concat([copy, edns]);
}

interface OptRecord {
  readonly udpPayloadSize?: number;
  readonly flags?: number;
}

function skipName(message: Buffer, start: number): number {
  let offset = start;
  for (;;) {
    const length = message.readUInt8(offset);
    if (length >= 0xc0) return offset + 2;
    offset += 1 + length;
    if (length === 0) return offset;
  }
}

/** Offsets of the records' TTL fields, OPT's aside (RFC 1035 §4.1). */
function ttlOffsets(message: Buffer): readonly number[] {
  let offset = 12;
  for (let left = message.readUInt16BE(4); left > 0; left -= 1) offset = skipName(message, offset) + 4;
  const count = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10);
  const found: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const type = skipName(message, offset);
    if (message.readUInt16BE(type) !== OPT_TYPE) found.push(type + 4);
    offset = type + 10 + message.readUInt16BE(type + 8);
  }
  return found;
}

/** Seconds that an answer may be kept: the least ttl, or a refusal's SOA minimum (RFC 2308 §5); an error or a cut answer is not kept. */
export function lifetimeOf(answer: Buffer): number {
  const packet = tryDecode(answer) as (Packet & { rcode?: string }) | undefined;
  if (!packet || (packet.flags ?? 0) & TRUNCATED_RESPONSE) return 0;
  if (packet.rcode !== 'NOERROR' && packet.rcode !== 'NXDOMAIN') return 0;
  const ttls = [...(packet.answers ?? []), ...(packet.authorities ?? [])].flatMap((row) =>
    row.type === 'SOA'
      ? [row.ttl ?? 0, row.data.minimum ?? 0]
      : 'ttl' in row && typeof row.ttl === 'number'
        ? [row.ttl]
        : [],
  );
  return ttls.length === 0 ? 0 : Math.min(...ttls);
}
