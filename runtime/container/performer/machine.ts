import {
  ARM64_JUMPS,
  assemble,
  buildElf,
  type CodeItem,
  type ElfArchitecture,
  little,
  word,
  X64_JUMPS,
} from '../elf.ts';

/** Where the program of records lies in memory, and how long it may be. */
export const PROGRAM_ADDRESS = 0x800000;
export const PROGRAM_SIZE = 0x800000;
/** The descriptor that the program is read from, and the one for failures. */
const PROGRAM_FD = 4;
export const REPORT_FD = 3;
/** The exit code after a failure. */
const FAILURE_CODE = 127;

/**
 * Offsets in a record. Bit N of `indirect` says that argument N is the address of its value. Comparisons are of 32 bits;
 * a target is the address of a record; an `onError` of 0 ends the program.
 */
export const RECORD = {
  /** The system call's number; negative for none, the result is argument 0. */
  call: 0,
  indirect: 4,
  args: 8,
  result: 56,
  equalA: 64,
  targetA: 68,
  equalB: 72,
  targetB: 76,
  onError: 80,
  size: 88,
} as const;

/**
 * The performer, a static ELF file of about 400 bytes without a C library: it performs system calls that it is given
 * as data. The engine's child of this program is a container's monitor, that one's child becomes the container.
 *
 *     mmap(PROGRAM_ADDRESS), read descriptor 4 to its end; pc = the address in the first word
 *     loop: result = call(arguments); *record.result = result
 *       result == equalA: pc = targetA
 *       result == equalB: pc = targetB
 *       -4095 <= result < 0: pc = onError; without one, write {pc, result} to descriptor 3 and exit(127)
 *       else: pc = the next record
 */
export function buildPerformer(architecture: ElfArchitecture): Buffer {
  return buildElf(architecture, architecture === 'x64' ? buildX64() : buildArm64());
}

/** Loads and, by the lowest bit of ecx, loads from what was loaded: rdi, rsi, rdx, r10, r8, r9. */
const X64_ARGUMENTS: readonly CodeItem[] = [
  [
    [0x48, 0x8b, 0x7b],
    [0x48, 0x8b, 0x3f],
  ],
  [
    [0x48, 0x8b, 0x73],
    [0x48, 0x8b, 0x36],
  ],
  [
    [0x48, 0x8b, 0x53],
    [0x48, 0x8b, 0x12],
  ],
  [
    [0x4c, 0x8b, 0x53],
    [0x4d, 0x8b, 0x12],
  ],
  [
    [0x4c, 0x8b, 0x43],
    [0x4d, 0x8b, 0x00],
  ],
  [
    [0x4c, 0x8b, 0x4b],
    [0x4d, 0x8b, 0x09],
  ],
].flatMap(([load = [], follow = []], index) => [
  { code: [...load, RECORD.args + 8 * index] }, // mov reg, [rbx+offset]
  { code: [0xd1, 0xe9, 0x73, 0x03] }, //          shr ecx, 1; jnc +3
  { code: follow }, //                            mov reg, [reg]
]);

function buildX64(): Buffer {
  const program: readonly CodeItem[] = [
    { code: [0xbf, ...little(PROGRAM_ADDRESS)] }, //  mov edi, PROGRAM_ADDRESS
    { code: [0xbe, ...little(PROGRAM_SIZE)] }, //     mov esi, PROGRAM_SIZE
    { code: [0x6a, 0x03, 0x5a] }, //                  push 3; pop rdx     PROT_READ | PROT_WRITE
    { code: [0x6a, 0x32, 0x41, 0x5a] }, //            push 0x32; pop r10  MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
    { code: [0x49, 0x83, 0xc8, 0xff] }, //            or r8, -1
    { code: [0x45, 0x31, 0xc9] }, //                  xor r9d, r9d
    { code: [0x6a, 0x09, 0x58, 0x0f, 0x05] }, //      push 9; pop rax; syscall   mmap
    { code: [0xbb, ...little(PROGRAM_ADDRESS)] }, //  mov ebx, PROGRAM_ADDRESS
    { label: 'read' },
    { code: [0x6a, PROGRAM_FD, 0x5f] }, //            push 4; pop rdi
    { code: [0x48, 0x89, 0xde] }, //                  mov rsi, rbx
    { code: [0xba, ...little(PROGRAM_ADDRESS + PROGRAM_SIZE)] }, // mov edx, end
    { code: [0x29, 0xda] }, //                        sub edx, ebx
    { code: [0x31, 0xc0, 0x0f, 0x05] }, //            xor eax, eax; syscall      read
    { code: [0x48, 0x85, 0xc0] }, //                  test rax, rax
    { jump: 0x7e, to: 'start' }, //                   jle start
    { code: [0x48, 0x01, 0xc3] }, //                  add rbx, rax
    { jump: 0xeb, to: 'read' }, //                    jmp read
    { label: 'start' },
    { code: [0x8b, 0x1c, 0x25, ...little(PROGRAM_ADDRESS)] }, // mov ebx, [PROGRAM_ADDRESS]
    { code: [0x85, 0xdb] }, //                        test ebx, ebx
    { code: [0x75, 0x05] }, //                        jnz +5
    { jump: 0xe9, to: 'exit' }, //                    jmp exit
    { label: 'next' },
    { code: [0x8b, 0x4b, RECORD.indirect] }, //       mov ecx, [rbx+indirect]
    ...X64_ARGUMENTS,
    { code: [0x48, 0x63, 0x03] }, //                  movsxd rax, [rbx+call]
    { code: [0x85, 0xc0] }, //                        test eax, eax
    { code: [0x79, 0x05] }, //                        jns +5
    { code: [0x48, 0x89, 0xf8] }, //                  mov rax, rdi
    { code: [0xeb, 0x02] }, //                        jmp +2
    { code: [0x0f, 0x05] }, //                        syscall
    { code: [0x48, 0x8b, 0x4b, RECORD.result] }, //   mov rcx, [rbx+result]
    { code: [0x48, 0x89, 0x01] }, //                  mov [rcx], rax
    { code: [0x3b, 0x43, RECORD.equalA] }, //         cmp eax, [rbx+equalA]
    { code: [0x75, 0x08] }, //                        jne +8
    { code: [0x8b, 0x5b, RECORD.targetA] }, //        mov ebx, [rbx+targetA]
    { jump: 0xe9, to: 'next' }, //                    jmp next
    { code: [0x3b, 0x43, RECORD.equalB] }, //         cmp eax, [rbx+equalB]
    { code: [0x75, 0x08] }, //                        jne +8
    { code: [0x8b, 0x5b, RECORD.targetB] }, //        mov ebx, [rbx+targetB]
    { jump: 0xe9, to: 'next' }, //                    jmp next
    { code: [0x48, 0x3d, ...little(-4095)] }, //      cmp rax, -4095
    { jump: 0x73, to: 'error' }, //                   jae error
    { code: [0x48, 0x83, 0xc3, RECORD.size] }, //     add rbx, size
    { jump: 0xe9, to: 'next' }, //                    jmp next
    { label: 'error' },
    { code: [0x8b, 0x4b, RECORD.onError] }, //        mov ecx, [rbx+onError]
    { code: [0x85, 0xc9] }, //                        test ecx, ecx
    { jump: 0x74, to: 'fail' }, //                    jz fail
    { code: [0x89, 0xcb] }, //                        mov ebx, ecx
    { jump: 0xe9, to: 'next' }, //                    jmp next
    { label: 'fail' },
    { code: [0x50, 0x53] }, //                        push rax; push rbx
    { code: [0x6a, REPORT_FD, 0x5f] }, //             push 3; pop rdi
    { code: [0x48, 0x89, 0xe6] }, //                  mov rsi, rsp
    { code: [0x6a, 0x10, 0x5a] }, //                  push 16; pop rdx
    { code: [0x6a, 0x01, 0x58, 0x0f, 0x05] }, //      push 1; pop rax; syscall   write
    { label: 'exit' },
    { code: [0x6a, FAILURE_CODE, 0x5f] }, //          push 127; pop rdi
    { code: [0xb8, ...little(231), 0x0f, 0x05] }, //  mov eax, 231; syscall      exit_group
  ];
  return assemble(program, X64_JUMPS);
}

function buildArm64(): Buffer {
  const move = (register: number, value: number): CodeItem => word(0xd2800000 + value * 32 + register);
  const moveHigh = (register: number, value: number): CodeItem => word(0xd2a00000 + value * 32 + register);
  /** ldr xN, [x19, #offset], ldr wN, [x19, #offset] */
  const load = (register: number, offset: number): CodeItem =>
    word(0xf9400000 + (offset / 8) * 1024 + 19 * 32 + register);
  const loadWord = (register: number, offset: number): CodeItem =>
    word(0xb9400000 + (offset / 4) * 1024 + 19 * 32 + register);
  const call: CodeItem = word(0xd4000001);
  const jump = (to: string): CodeItem => ({ jump: 0x14000000, to });
  const compare = (equal: number, target: number, past: string): readonly CodeItem[] => [
    loadWord(10, equal),
    word(0x6b0a001f), //                             cmp w0, w10
    { jump: 0x54000001, to: past }, //               b.ne past
    loadWord(19, target),
    jump('next'),
    { label: past },
  ];
  const program: readonly CodeItem[] = [
    moveHigh(0, PROGRAM_ADDRESS >>> 16),
    moveHigh(1, PROGRAM_SIZE >>> 16),
    move(2, 3), //                                   PROT_READ | PROT_WRITE
    move(3, 0x32), //                                MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
    word(0x92800004), //                             mov x4, #-1
    move(5, 0),
    move(8, 222), //                                 mmap
    call,
    moveHigh(19, PROGRAM_ADDRESS >>> 16),
    { label: 'read' },
    move(0, PROGRAM_FD),
    word(0xaa1303e1), //                             mov x1, x19
    moveHigh(2, (PROGRAM_ADDRESS + PROGRAM_SIZE) >>> 16),
    word(0xcb130042), //                             sub x2, x2, x19
    move(8, 63), //                                  read
    call,
    word(0xf100001f), //                             cmp x0, #0
    { jump: 0x5400000d, to: 'start' }, //            b.le start
    word(0x8b000273), //                             add x19, x19, x0
    jump('read'),
    { label: 'start' },
    moveHigh(19, PROGRAM_ADDRESS >>> 16),
    loadWord(19, 0),
    { jump: 0x34000013, to: 'exit' }, //             cbz w19, exit
    { label: 'next' },
    loadWord(9, RECORD.indirect),
    ...[0, 1, 2, 3, 4, 5].flatMap((index) => [
      load(index, RECORD.args + 8 * index),
      word(0x36000049 + index * 0x80000), //         tbz w9, #index, +8
      word(0xf9400000 + index * 33), //              ldr xN, [xN]
    ]),
    word(0xb9800268), //                             ldrsw x8, [x19]
    word(0x37f80048), //                             tbnz w8, #31, +8
    call,
    load(9, RECORD.result),
    word(0xf9000120), //                             str x0, [x9]
    ...compare(RECORD.equalA, RECORD.targetA, 'pastA'),
    ...compare(RECORD.equalB, RECORD.targetB, 'pastB'),
    word(0xb13ffc1f), //                             cmn x0, #4095
    { jump: 0x54000002, to: 'error' }, //            b.cs error
    word(0x91000273 + RECORD.size * 1024), //        add x19, x19, #size
    jump('next'),
    { label: 'error' },
    loadWord(9, RECORD.onError),
    { jump: 0x34000009, to: 'fail' }, //             cbz w9, fail
    word(0x2a0903f3), //                             mov w19, w9
    jump('next'),
    { label: 'fail' },
    word(0xa9bf03f3), //                             stp x19, x0, [sp, #-16]!
    move(0, REPORT_FD),
    word(0x910003e1), //                             mov x1, sp
    move(2, 16),
    move(8, 64), //                                  write
    call,
    { label: 'exit' },
    move(0, FAILURE_CODE),
    move(8, 94), //                                  exit_group
    call,
  ];
  return assemble(program, ARM64_JUMPS);
}
