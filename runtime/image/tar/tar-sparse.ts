import type { BlockReader } from './tar-blocks.ts';
import { parseDecimal, readNumber, tarFailure } from './tar-fields.ts';

/** Where a piece of the content lies in the file. */
export interface SparsePiece {
  readonly offset: number;
  readonly lengthBytes: number;
}
const MAX_SPARSE_PIECES = 1 << 16;

interface Sparse {
  readonly pieces: readonly SparsePiece[];
  readonly fileBytes: number;
}

/** Old GNU form: 4 pieces in the header, 21 in each block behind it while its flag says so. */
export async function readGnuSparse(input: BlockReader, header: Buffer): Promise<Sparse> {
  const pieces: SparsePiece[] = [];
  const add = (block: Buffer, start: number, count: number) => {
    for (let index = 0; index < count; index += 1) {
      const at = start + index * 24;
      if (block[at] === 0) return;
      pieces.push({ offset: readNumber(block, at, 12), lengthBytes: readNumber(block, at + 12, 12) });
    }
    if (pieces.length > MAX_SPARSE_PIECES) throw tarFailure('a sparse file has too many pieces');
  };
  add(header, 386, 4);
  for (let hasMore = header[482] !== 0; hasMore; ) {
    const block = await input.extraBlock();
    add(block, 0, 21);
    hasMore = block[504] !== 0;
  }
  return { pieces, fileBytes: readNumber(header, 483, 12) };
}

/** The pax forms: the map in the records (0.1), or as decimal lines before the content (1.0). */
export async function readPaxSparse(
  input: BlockReader,
  pax: ReadonlyMap<string, Buffer>,
): Promise<Sparse | undefined> {
  const decimal = (key: string) => parseDecimal(key, pax.get(key)?.toString('utf8') ?? '');
  const map = pax.get('GNU.sparse.map')?.toString('utf8');
  if (map !== undefined) {
    return { pieces: pairUp(map.split(',').map(Number)), fileBytes: decimal('GNU.sparse.size') };
  }
  if (pax.get('GNU.sparse.major')?.toString('utf8') !== '1') {
    if (pax.has('GNU.sparse.size')) throw tarFailure('a sparse file of pax format 0.0 is not supported');
    return undefined;
  }
  const numbers: number[] = [];
  let text = '';
  do {
    text += (await input.contentBlock()).toString('latin1');
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    numbers.push(...lines.map(Number));
    if (numbers.length > 2 * MAX_SPARSE_PIECES) throw tarFailure('a sparse file has too many pieces');
  } while (numbers.length === 0 || numbers.length < 1 + 2 * numbers[0]!);
  return {
    pieces: pairUp(numbers.slice(1, 1 + 2 * numbers[0]!)),
    fileBytes: decimal('GNU.sparse.realsize'),
  };
}

function pairUp(numbers: readonly number[]): readonly SparsePiece[] {
  if (numbers.some((value) => !Number.isSafeInteger(value) || value < 0)) {
    throw tarFailure('the map of a sparse file holds something else than numbers');
  }
  return Array.from({ length: numbers.length >> 1 }, (_, index) => ({
    offset: numbers[2 * index]!,
    lengthBytes: numbers[2 * index + 1]!,
  }));
}
