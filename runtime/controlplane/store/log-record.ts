import { crc32 } from 'node:zlib';

/** One change as the log holds it; `value` is undefined for a deletion. */
export interface LogRecord {
  readonly key: string;
  readonly revision: number;
  readonly createRevision: number;
  readonly value: Buffer | undefined;
}

const HEADER_BYTES = 8;
const FIXED_BYTES = 1 + 8 + 8 + 2;

/**
 * Serialises a record:
 * ```
 * u32 length of what follows the crc | u32 crc32 of it | u8 1=put 2=delete
 * f64 revision | f64 create revision | u16 key length | key | value
 * ```
 */
export function formatLogRecord(record: LogRecord): Buffer {
  const keyBytes = Buffer.byteLength(record.key);
  const valueBytes = record.value?.length ?? 0;
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + FIXED_BYTES + keyBytes + valueBytes);
  bytes.writeUInt32LE(bytes.length - HEADER_BYTES, 0);
  bytes.writeUInt8(record.value ? 1 : 2, 8);
  bytes.writeDoubleLE(record.revision, 9);
  bytes.writeDoubleLE(record.createRevision, 17);
  bytes.writeUInt16LE(keyBytes, 25);
  bytes.write(record.key, 27);
  record.value?.copy(bytes, 27 + keyBytes);
  bytes.writeUInt32LE(crc32(bytes.subarray(HEADER_BYTES)), 4);
  return bytes;
}

/** The records of a log file and the length of its readable part; what follows is a torn write. */
export function parseLog(bytes: Buffer): {
  readonly records: readonly LogRecord[];
  readonly readableBytes: number;
} {
  const records: LogRecord[] = [];
  let offset = 0;
  while (offset + HEADER_BYTES + FIXED_BYTES <= bytes.length) {
    const end = offset + HEADER_BYTES + bytes.readUInt32LE(offset);
    if (end > bytes.length || end < offset + HEADER_BYTES + FIXED_BYTES) break;
    const body = bytes.subarray(offset + HEADER_BYTES, end);
    if (crc32(body) !== bytes.readUInt32LE(offset + 4)) break;
    records.push(parseBody(body));
    offset = end;
  }
  return { records, readableBytes: offset };
}

function parseBody(body: Buffer): LogRecord {
  const keyEnd = 19 + body.readUInt16LE(17);
  return {
    key: body.toString('utf8', 19, keyEnd),
    revision: body.readDoubleLE(1),
    createRevision: body.readDoubleLE(9),
    value: body.readUInt8(0) === 1 ? Buffer.from(body.subarray(keyEnd)) : undefined,
  };
}
