import {
  ARM64_JUMPS,
  assemble,
  buildElf,
  type CodeItem,
  type ElfArchitecture,
  little,
  word,
  X64_JUMPS,
} from './elf.ts';
import type { OciSeccomp } from './seccomp/oci-seccomp.ts';

/** The architectures that a pause program can be built for. */
export type PauseArchitecture = ElfArchitecture;

/** SIGINT (2), SIGTERM (15) and SIGCHLD (17) as a kernel signal set: bit N-1 for signal N. */
const SIGNAL_SET = 0x14002;
/** What the program calls, and what it takes to become it. */
export const PAUSE_SECCOMP: OciSeccomp = {
  defaultAction: 'SCMP_ACT_ERRNO',
  syscalls: [
    {
      names: ['rt_sigprocmask', 'rt_sigtimedwait', 'wait4', 'exit', 'restart_syscall'],
      action: 'SCMP_ACT_ALLOW',
    },
    { names: ['execve', 'write', 'exit_group'], action: 'SCMP_ACT_ALLOW' },
  ],
};

/**
 * The program of a pod's first container, a static ELF file (elf(5)) of about 250 bytes:
 *
 *     rt_sigprocmask(SIG_BLOCK, {SIGINT, SIGTERM, SIGCHLD})
 *     loop: switch rt_sigtimedwait(set, NULL, NULL)
 *       SIGINT, SIGTERM: exit(0)
 *       else: while wait4(-1, NULL, WNOHANG, NULL) > 0
 *
 * The kernel drops signals to a PID 1 without a handler, but not blocked ones: they are waited for.
 */
export function buildPauseBinary(architecture: PauseArchitecture): Buffer {
  const code = architecture === 'x64' ? buildX64Code() : buildArm64Code();
  return buildElf(architecture, code);
}

function buildX64Code(): Buffer {
  const program: readonly CodeItem[] = [
    { code: [0x68, ...little(SIGNAL_SET)] }, //   push SIGNAL_SET
    { code: [0x48, 0x89, 0xe3] }, //              mov rbx, rsp
    { code: [0x31, 0xff] }, //                    xor edi, edi        SIG_BLOCK
    { code: [0x48, 0x89, 0xde] }, //              mov rsi, rbx
    { code: [0x31, 0xd2] }, //                    xor edx, edx
    { code: [0x6a, 0x08, 0x41, 0x5a] }, //        push 8; pop r10     size of the set
    { code: [0x6a, 0x0e, 0x58] }, //              push 14; pop rax    rt_sigprocmask
    { code: [0x0f, 0x05] }, //                    syscall
    { label: 'loop' },
    { code: [0x48, 0x89, 0xdf] }, //              mov rdi, rbx
    { code: [0x31, 0xf6] }, //                    xor esi, esi
    { code: [0x31, 0xd2] }, //                    xor edx, edx
    { code: [0x6a, 0x08, 0x41, 0x5a] }, //        push 8; pop r10
    { code: [0xb8, ...little(128)] }, //          mov eax, 128        rt_sigtimedwait
    { code: [0x0f, 0x05] }, //                    syscall
    { code: [0x3c, 15] }, //                      cmp al, SIGTERM
    { jump: 0x74, to: 'exit' }, //                je exit
    { code: [0x3c, 2] }, //                       cmp al, SIGINT
    { jump: 0x74, to: 'exit' }, //                je exit
    { label: 'reap' },
    { code: [0x48, 0x83, 0xcf, 0xff] }, //        or rdi, -1
    { code: [0x31, 0xf6] }, //                    xor esi, esi
    { code: [0x6a, 0x01, 0x5a] }, //              push 1; pop rdx     WNOHANG
    { code: [0x45, 0x31, 0xd2] }, //              xor r10d, r10d
    { code: [0x6a, 0x3d, 0x58] }, //              push 61; pop rax    wait4
    { code: [0x0f, 0x05] }, //                    syscall
    { code: [0x48, 0x85, 0xc0] }, //              test rax, rax
    { jump: 0x7f, to: 'reap' }, //                jg reap
    { jump: 0xeb, to: 'loop' }, //                jmp loop
    { label: 'exit' },
    { code: [0x31, 0xff] }, //                    xor edi, edi
    { code: [0x6a, 0x3c, 0x58] }, //              push 60; pop rax    exit
    { code: [0x0f, 0x05] }, //                    syscall
  ];
  return assemble(program, X64_JUMPS);
}

function buildArm64Code(): Buffer {
  const move = (register: number, value: number): CodeItem => word(0xd2800000 + value * 32 + register);
  const compare = (value: number): CodeItem => word(0xf100001f + value * 1024);
  const call: CodeItem = word(0xd4000001);
  const program: readonly CodeItem[] = [
    move(9, SIGNAL_SET & 0xffff), //                 mov x9, #low
    word(0xf2a00000 + (SIGNAL_SET >> 16) * 32 + 9), // movk x9, #high, lsl #16
    word(0xf81f0fe9), //                             str x9, [sp, #-16]!
    word(0x910003f3), //                             mov x19, sp
    move(0, 0), //                                   SIG_BLOCK
    word(0xaa1303e1), //                             mov x1, x19
    move(2, 0),
    move(3, 8), //                                   size of the set
    move(8, 135), //                                 rt_sigprocmask
    call,
    { label: 'loop' },
    word(0xaa1303e0), //                             mov x0, x19
    move(1, 0),
    move(2, 0),
    move(3, 8),
    move(8, 137), //                                 rt_sigtimedwait
    call,
    compare(15), //                                  cmp x0, #SIGTERM
    { jump: 0x54000000, to: 'exit' }, //             b.eq exit
    compare(2), //                                   cmp x0, #SIGINT
    { jump: 0x54000000, to: 'exit' }, //             b.eq exit
    { label: 'reap' },
    word(0x92800000), //                             mov x0, #-1
    move(1, 0),
    move(2, 1), //                                   WNOHANG
    move(3, 0),
    move(8, 260), //                                 wait4
    call,
    compare(0), //                                   cmp x0, #0
    { jump: 0x5400000c, to: 'reap' }, //             b.gt reap
    { jump: 0x14000000, to: 'loop' }, //             b loop
    { label: 'exit' },
    move(0, 0),
    move(8, 93), //                                  exit
    call,
  ];
  return assemble(program, ARM64_JUMPS);
}
