import { execFileSync } from 'node:child_process';
import { createReadStream, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadInodes } from '../../../runtime/image/inodes.ts';
import { unpackLayer } from '../../../runtime/image/unpack.ts';

/** More than is written between two looks at the disk; of the disk next to nothing is left then. */
const CONTENT_BYTES = 65 << 20;
const DISK = 'size=66m';

const skip = process.getuid?.() === 0 ? false : 'needs root';

for (const [name, flags] of [
  ['a file', []],
  ['a sparse file', ['--sparse']],
] as const) {
  t.test(`unpackLayer() stops before ${name} fills the disk`, { skip }, async (t) => {
    const directory = t.testdir();
    const root = join(directory, 'disk');
    mkdirSync(root);
    writeFileSync(join(directory, 'file'), Buffer.alloc(CONTENT_BYTES, 'x'));
    truncateSync(join(directory, 'file'), CONTENT_BYTES + (1 << 20));
    execFileSync('tar', ['-C', directory, ...flags, '-cf', join(directory, 'layer.tar'), 'file']);
    execFileSync('mount', ['-t', 'tmpfs', '-o', DISK, 'tmpfs', root]);
    try {
      const tar = createReadStream(join(directory, 'layer.tar'));
      await t.rejects(unpackLayer(tar, root, { inodes: loadInodes() }), {
        code: 'IMAGE_UNPACK',
        message: /the disk has only \d+ bytes left/,
      });
    } finally {
      execFileSync('umount', [root]);
    }
  });
}
