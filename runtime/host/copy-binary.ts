import { constants } from 'node:fs';
import { copyFile, type FileHandle, open } from 'node:fs/promises';

/** "\x7fELF", 64 bits, little-endian: the first bytes of the files that are understood here. */
const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
/** Offsets in the header, elf(5): Elf64_Ehdr and Elf64_Phdr. */
const HEADER = {
  segments: 32,
  sections: 40,
  segmentSize: 54,
  segmentCount: 56,
  sectionCount: 60,
  size: 64,
} as const;
const SEGMENT = { offset: 8, fileSize: 32 } as const;

/**
 * Copies a program or shared object without what only debuggers read: symbols and debugging data lie behind the last
 * segment, and the section table that names them goes too. An eighth of a Node.js binary, four fifths of some addons.
 * Other files are copied as they are.
 */
export async function copyBinary(source: string, target: string): Promise<void> {
  await copyFile(source, target, constants.COPYFILE_FICLONE);
  const file = await open(target, 'r+');
  try {
    const end = await findEndOfSegments(file);
    if (end === undefined || end >= (await file.stat()).size) return;
    await file.truncate(end);
    await file.write(Buffer.alloc(8), 0, 8, HEADER.sections);
    // e_shnum and e_shstrndx
    await file.write(Buffer.alloc(4), 0, 4, HEADER.sectionCount);
  } finally {
    await file.close();
  }
}

/** Where the last byte that is loaded ends; undefined when it is no ELF file of this kind. */
async function findEndOfSegments(file: FileHandle): Promise<number | undefined> {
  const header = await readAt(file, 0, HEADER.size);
  if (header.length < HEADER.size || !header.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const size = header.readUInt16LE(HEADER.segmentSize);
  const count = header.readUInt16LE(HEADER.segmentCount);
  const start = Number(header.readBigUInt64LE(HEADER.segments));
  const table = await readAt(file, start, size * count);
  if (count === 0 || table.length < size * count) return undefined;
  const ends = Array.from({ length: count }, (_unused, index) => {
    const segment = table.subarray(index * size);
    return Number(segment.readBigUInt64LE(SEGMENT.offset) + segment.readBigUInt64LE(SEGMENT.fileSize));
  });
  return Math.max(start + table.length, ...ends);
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}
