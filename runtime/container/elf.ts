/** The architectures that programs can be made for, Node.js' names. */
export type ElfArchitecture = 'x64' | 'arm64';

const LOAD_ADDRESS = 0x400000;
const ELF_HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const CODE_OFFSET = ELF_HEADER_SIZE + 2 * PROGRAM_HEADER_SIZE;
/** ELF e_machine values. */
const MACHINES = { x64: 62, arm64: 183 } as const;

/** A static executable file (elf(5)) of machine code that is entered at its first byte. */
export function buildElf(architecture: ElfArchitecture, code: Buffer): Buffer {
  const size = CODE_OFFSET + code.length;
  const header = Buffer.alloc(CODE_OFFSET);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  // e_type ET_EXEC, e_machine, e_version
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(MACHINES[architecture], 18);
  header.writeUInt32LE(1, 20);
  // e_entry, e_phoff
  header.writeBigUInt64LE(BigInt(LOAD_ADDRESS + CODE_OFFSET), 24);
  header.writeBigUInt64LE(BigInt(ELF_HEADER_SIZE), 32);
  // e_ehsize, e_phentsize, e_phnum, e_shentsize
  header.writeUInt16LE(ELF_HEADER_SIZE, 52);
  header.writeUInt16LE(PROGRAM_HEADER_SIZE, 54);
  header.writeUInt16LE(2, 56);
  header.writeUInt16LE(64, 58);
  // PT_LOAD, readable and executable; the alignment serves kernels with 64 KiB pages.
  writeProgramHeader(header, ELF_HEADER_SIZE, {
    type: 1,
    flags: 5,
    address: LOAD_ADDRESS,
    size,
    align: 0x10000,
  });
  // PT_GNU_STACK, readable and writable: no executable stack.
  writeProgramHeader(header, ELF_HEADER_SIZE + PROGRAM_HEADER_SIZE, {
    type: 0x6474e551,
    flags: 6,
    address: 0,
    size: 0,
    align: 16,
  });
  return Buffer.concat([header, code]);
}

interface ProgramHeader {
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly size: number;
  readonly align: number;
}

function writeProgramHeader(target: Buffer, offset: number, header: ProgramHeader): void {
  target.writeUInt32LE(header.type, offset);
  target.writeUInt32LE(header.flags, offset + 4);
  // p_offset stays 0: the segment is the whole file.
  target.writeBigUInt64LE(BigInt(header.address), offset + 16);
  target.writeBigUInt64LE(BigInt(header.address), offset + 24);
  target.writeBigUInt64LE(BigInt(header.size), offset + 32);
  target.writeBigUInt64LE(BigInt(header.size), offset + 40);
  target.writeBigUInt64LE(BigInt(header.align), offset + 48);
}

/** A label, machine code, or a jump to a label whose distance is filled in. */
export type CodeItem =
  | { readonly label: string }
  | { readonly code: readonly number[] }
  | { readonly jump: number; readonly to: string };

export interface JumpFormat {
  /** Bytes of a jump with this operation code. */
  readonly size: (operation: number) => number;
  /** `distance` is in bytes from the jump's own first byte. */
  readonly encode: (operation: number, distance: number) => readonly number[];
}

/** Short jumps of two bytes, and near ones (0xe9) of five. */
export const X64_JUMPS: JumpFormat = {
  size: (operation) => (operation === 0xe9 ? 5 : 2),
  encode: (operation, distance) =>
    operation === 0xe9 ? [operation, ...little(distance - 5)] : [operation, (distance - 2) & 0xff],
};

/** b (0x14000000) with 26 bits; b.cond and cbz with 19 bits. */
export const ARM64_JUMPS: JumpFormat = {
  size: () => 4,
  encode: (operation, distance) =>
    operation === 0x14000000
      ? little(operation + ((distance / 4) & 0x3ffffff))
      : little(operation + ((distance / 4) & 0x7ffff) * 32),
};

/** Machine code with its jumps' distances. */
export function assemble(program: readonly CodeItem[], format: JumpFormat): Buffer {
  const labels = new Map<string, number>();
  let offset = 0;
  for (const item of program) {
    if ('label' in item) labels.set(item.label, offset);
    else offset += 'code' in item ? item.code.length : format.size(item.jump);
  }
  const bytes: number[] = [];
  for (const item of program) {
    if ('code' in item) bytes.push(...item.code);
    else if ('jump' in item) bytes.push(...format.encode(item.jump, labels.get(item.to)! - bytes.length));
  }
  return Buffer.from(bytes);
}

/** One instruction of arm64. */
export const word = (value: number): CodeItem => ({ code: little(value) });

/** 32 bits, low byte first. */
export function little(value: number): readonly number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}
