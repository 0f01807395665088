/** One instruction of classic BPF, `struct sock_filter` of <linux/filter.h>; jumps count the instructions between. */
export interface BpfInstruction {
  readonly code: number;
  readonly jumpTrue: number;
  readonly jumpFalse: number;
  /** 32 bits without a sign. */
  readonly k: number;
}

export type BpfProgram = readonly BpfInstruction[];

/** Operation codes that seccomp(2) knows. */
export const BPF = {
  LOAD: 0x20,
  AND: 0x54,
  JUMP: 0x05,
  JUMP_EQUAL: 0x15,
  JUMP_GREATER: 0x25,
  JUMP_GREATER_EQUAL: 0x35,
  JUMP_SET: 0x45,
  RETURN: 0x06,
} as const;

/** The kernel's limit, BPF_MAXINSNS. */
export const MAX_INSTRUCTIONS = 4096;
/** The distance that a conditional jump can hold. */
const MAX_JUMP = 255;

export function load(offset: number): BpfProgram {
  return [{ code: BPF.LOAD, jumpTrue: 0, jumpFalse: 0, k: offset }];
}

export function ret(value: number): BpfProgram {
  return [{ code: BPF.RETURN, jumpTrue: 0, jumpFalse: 0, k: value >>> 0 }];
}

/** `whenTrue` or `whenFalse`, by a comparison of the accumulator with `k`; both must end with a return or fall through. */
export function branch(code: number, k: number, whenFalse: BpfProgram, whenTrue: BpfProgram): BpfProgram {
  if (whenFalse.length <= MAX_JUMP) {
    return [{ code, jumpTrue: whenFalse.length, jumpFalse: 0, k: k >>> 0 }, ...whenFalse, ...whenTrue];
  }
  return [
    { code, jumpTrue: 0, jumpFalse: 1, k: k >>> 0 },
    { code: BPF.JUMP, jumpTrue: 0, jumpFalse: 0, k: whenFalse.length },
    ...whenFalse,
    ...whenTrue,
  ];
}

/** The instructions as the kernel reads them, 8 bytes each. */
export function encodeBpf(program: BpfProgram): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, { code, jumpTrue, jumpFalse, k }] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jumpTrue, index * 8 + 2);
    bytes.writeUInt8(jumpFalse, index * 8 + 3);
    bytes.writeUInt32LE(k, index * 8 + 4);
  }
  return bytes;
}
