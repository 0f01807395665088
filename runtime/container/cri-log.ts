/**
 * One record of a CRI log:
 *
 *     2026-11-21T07:19:18.123456789Z stdout F text\n      F: full line, P: part of one
 */
export interface LogRecord {
  readonly timestamp: string;
  readonly stream: 'stdout' | 'stderr';
  readonly isPartial: boolean;
  /** Without the line end. */
  readonly content: Buffer;
}

const SPACE = 0x20;

/** Parses a record without its line end; undefined when it is none. */
export function parseLogLine(line: Buffer): LogRecord | undefined {
  const first = line.indexOf(SPACE);
  const second = line.indexOf(SPACE, first + 1);
  const third = line.indexOf(SPACE, second + 1);
  if (first < 0 || second < 0) return undefined;
  const stream = line.toString('latin1', first + 1, second);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tagEnd = third < 0 ? line.length : third;
  const [tag] = line.toString('latin1', second + 1, tagEnd).split(':');
  if (tag !== 'F' && tag !== 'P') return undefined;
  return {
    timestamp: line.toString('latin1', 0, first),
    stream,
    isPartial: tag === 'P',
    content: third < 0 ? Buffer.alloc(0) : line.subarray(third + 1),
  };
}
