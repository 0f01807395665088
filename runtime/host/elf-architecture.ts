import { open } from 'node:fs/promises';

/** Node.js's names of the architectures that a node can have. */
export type Architecture = 'x64' | 'arm64';

/** e_machine of each, elf(5). */
const MACHINES: Readonly<Record<number, Architecture>> = { 62: 'x64', 183: 'arm64' };
/** "\x7fELF", 64 bits, little-endian. */
const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
const MACHINE_OFFSET = 18;

/** What a program is made for; undefined when it is no ELF file of these architectures. */
export async function readElfArchitecture(path: string): Promise<Architecture | undefined> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MACHINE_OFFSET + 2), 0, MACHINE_OFFSET + 2, 0);
    if (bytesRead < buffer.length || !buffer.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
    return MACHINES[buffer.readUInt16LE(MACHINE_OFFSET)];
  } finally {
    await file.close();
  }
}
