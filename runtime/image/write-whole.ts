import { write, writeSync } from 'node:fs';
import { promisify } from 'node:util';

/** A piece this small is written before a thread of the pool would have taken it over. */
export const SMALL_PIECE_BYTES = 1 << 16;

const writeAside = promisify(write);

/** Writes all of a piece, at the file's position or at `offset`. */
export async function writeWhole(file: number, piece: Buffer, offset?: number): Promise<void> {
  for (let done = 0; done < piece.byteLength; ) {
    const place = offset === undefined ? null : offset + done;
    const count = piece.byteLength - done;
    done +=
      count <= SMALL_PIECE_BYTES
        ? writeSync(file, piece, done, count, place)
        : (await writeAside(file, piece, done, count, place)).bytesWritten;
  }
}
