import { createHash } from 'node:crypto';
import t from 'tap';
import { ByteDigest } from '../../../runtime/image/blobs.ts';
import { openStreamHash } from '../../../runtime/image/stream-hash.ts';
import { seededRandom } from './random.ts';

const SIZES = [0, 1, 511, 32_767, 32_768, 65_536, 1_000_003] as const;

/** Pieces of these sizes in turn, of bytes that are all different. */
function* pieces(count: number): Generator<Buffer> {
  const random = seededRandom(5);
  for (let index = 0; index < count; index += 1) {
    const size = SIZES[index % SIZES.length]!;
    // Not at the begin of its memory.
    yield Buffer.from(Array.from({ length: 64 }, () => random() & 255).join()).subarray(
      3,
      3 + Math.min(size, 60),
    );
    yield Buffer.alloc(size + 7, random() & 255).subarray(7);
  }
}

async function* asStream(source: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* source;
}

t.test('a digest that is taken aside is that of createHash()', async (t) => {
  const expected = createHash('sha256');
  for (const piece of pieces(40)) expected.update(piece);
  const digest = new ByteDigest();
  t.throws(() => digest.result(), /goes on/);
  let sizeBytes = 0;
  for await (const piece of digest.through(asStream(pieces(40)))) sizeBytes += piece.byteLength;
  t.same(digest.result(), { digest: `sha256:${expected.digest('hex')}`, sizeBytes });
  const empty = new ByteDigest();
  for await (const piece of empty.through(asStream([]))) t.fail(piece.toString());
  t.same(empty.result(), { digest: `sha256:${createHash('sha256').digest('hex')}`, sizeBytes: 0 });
});

t.test('a stream that is given up in the middle is closed, and tells no digest', async (t) => {
  for (let round = 0; round < 200; round += 1) {
    const digest = new ByteDigest();
    for await (const piece of digest.through(asStream([Buffer.alloc(1 << 20), Buffer.alloc(1 << 20)])))
      if (piece.byteLength > 0) break;
    t.throws(() => digest.result(), /goes on/);
  }
});

t.test('what is long is hashed on another thread', async (t) => {
  const hash = openStreamHash();
  const bytes = Buffer.alloc(64 << 20);
  const update = hash.update(bytes);
  t.type(update, Promise, 'the call is back before the digest is there');
  await update;
  t.equal(hash.digest().toString('hex'), createHash('sha256').update(bytes).digest('hex'));
  hash.close();
});
