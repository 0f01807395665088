import { ftruncateSync } from 'node:fs';
import { writeWhole } from '../write-whole.ts';
import type { TarEntry } from './tar-reader.ts';
import type { SparsePiece } from './tar-sparse.ts';

/** Writes the pieces of a sparse entry to their places; holes stay holes. `onContent` is told each piece that comes. */
export async function writeSparse(
  entry: TarEntry,
  pieces: readonly SparsePiece[],
  { file, onContent }: { readonly file: number; readonly onContent: (content: Buffer) => void },
): Promise<void> {
  const left = pieces.map(({ offset, lengthBytes }) => ({ offset, lengthBytes }));
  for await (const content of entry.content()) {
    onContent(content);
    for (let rest = content; rest.byteLength > 0; ) {
      while (left[0]?.lengthBytes === 0) left.shift();
      const piece = left[0];
      if (piece === undefined) throw new Error('the content is longer than its map');
      const part = rest.subarray(0, piece.lengthBytes);
      await writeWhole(file, part, piece.offset);
      piece.offset += part.byteLength;
      piece.lengthBytes -= part.byteLength;
      rest = rest.subarray(part.byteLength);
    }
  }
  if (left.some(({ lengthBytes }) => lengthBytes > 0)) throw new Error('the content is shorter than its map');
  ftruncateSync(file, entry.fileBytes);
}
