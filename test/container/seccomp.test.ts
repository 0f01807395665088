import t from 'tap';
import { DEFAULT_CAPABILITIES } from '../../runtime/container/defaults.ts';
import { BPF, type BpfProgram } from '../../runtime/container/seccomp/bpf.ts';
import { compileSeccomp } from '../../runtime/container/seccomp/compile.ts';
import { buildDefaultSeccomp } from '../../runtime/container/seccomp/default-profile.ts';
import type { OciSeccomp, OciSeccompArg } from '../../runtime/container/seccomp/oci-seccomp.ts';
import { parseSeccompProfile } from '../../runtime/container/seccomp/profile-file.ts';
import { listAbis, type SeccompArchitecture } from '../../runtime/container/seccomp/syscall-numbers.ts';

const ALLOW = 0x7fff0000;
const EPERM = 0x50001;
const ENOSYS = 0x50026;
const KILL = 0x80000000;
const ARCH = { x86_64: 0xc000003e, i386: 0x40000003, aarch64: 0xc00000b7, arm: 0x40000028 } as const;

/** What the kernel's interpreter of a filter does, seccomp(2): the value that is returned. */
function evaluate(program: BpfProgram, arch: number, number: number, args: readonly bigint[] = []): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(arch, 4);
  for (const [index, value] of args.entries())
    data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + index * 8);
  let accumulator = 0;
  for (let pc = 0; pc < program.length; pc += 1) {
    const { code, k, jumpTrue, jumpFalse } = program[pc]!;
    if (code === BPF.LOAD) accumulator = data.readUInt32LE(k);
    else if (code === BPF.AND) accumulator = (accumulator & k) >>> 0;
    else if (code === BPF.JUMP) pc += k;
    else if (code === BPF.JUMP_EQUAL) pc += accumulator === k ? jumpTrue : jumpFalse;
    else if (code === BPF.JUMP_GREATER) pc += accumulator > k ? jumpTrue : jumpFalse;
    else if (code === BPF.JUMP_GREATER_EQUAL) pc += accumulator >= k ? jumpTrue : jumpFalse;
    else if (code === BPF.RETURN) return k;
    else throw new Error(`Cannot interpret instruction ${code}`);
  }
  throw new Error('Cannot interpret: the program has no end');
}

function caller(profile: OciSeccomp, architecture: SeccompArchitecture = 'x64') {
  const { program } = compileSeccomp(profile, listAbis(architecture));
  return (name: string, args: readonly bigint[] = [], abiIndex = 0) => {
    const abi = listAbis(architecture)[abiIndex]!;
    const number = abi.numbers.get(name);
    if (number === undefined) throw new Error(`Cannot find "${name}"`);
    return evaluate(program, abi.auditArch, number, args);
  };
}

t.test('listAbis() has the numbers of the kernel headers', (t) => {
  const known = {
    x64: [
      { read: 0, openat2: 437, execve: 59, pivot_root: 155, seccomp: 317, clone3: 435, file_setattr: 469 },
      { exit: 1, socketcall: 102, clone: 120, openat: 295, clock_gettime64: 403, mseal: 462 },
    ],
    arm64: [{ io_setup: 0, openat: 56, execve: 221, setns: 268, fstat: 80, mmap: 222, clone3: 435 }],
  } as const;
  for (const [architecture, lists] of Object.entries(known)) {
    for (const [index, names] of lists.entries()) {
      const { numbers } = listAbis(architecture as SeccompArchitecture)[index]!;
      for (const [name, number] of Object.entries(names)) t.equal(numbers.get(name), number, name);
      t.equal(new Set(numbers.values()).size, numbers.size);
    }
  }
  t.end();
});

t.test('the default profile answers by call, argument and capability', (t) => {
  const plain = caller(buildDefaultSeccomp(DEFAULT_CAPABILITIES));
  const admin = caller(buildDefaultSeccomp([...DEFAULT_CAPABILITIES, 'CAP_SYS_ADMIN']));
  const rows = [
    ['read', [], ALLOW, ALLOW],
    ['execve', [], ALLOW, ALLOW],
    ['statx', [], ALLOW, ALLOW],
    ['chroot', [], ALLOW, ALLOW],
    ['mount', [], EPERM, ALLOW],
    ['unshare', [], EPERM, ALLOW],
    ['setns', [], EPERM, ALLOW],
    ['bpf', [], EPERM, ALLOW],
    ['keyctl', [], EPERM, EPERM],
    ['add_key', [], EPERM, EPERM],
    ['userfaultfd', [], EPERM, EPERM],
    ['io_uring_setup', [], EPERM, EPERM],
    ['kexec_load', [], EPERM, EPERM],
    ['clone3', [], ENOSYS, ALLOW],
    ['clone', [0x3d0f00n], ALLOW, ALLOW],
    ['clone', [17n], ALLOW, ALLOW],
    ['clone', [0x10000000n], EPERM, ALLOW],
    ['clone', [0x10000000n | (1n << 40n)], EPERM, ALLOW],
    ['clone', [0x20000n | 17n], EPERM, ALLOW],
    ['socket', [2n], ALLOW, ALLOW],
    ['socket', [39n], ALLOW, ALLOW],
    ['socket', [40n], EPERM, EPERM],
    ['socket', [(1n << 32n) | 40n], EPERM, EPERM],
    ['socket', [44n], ALLOW, ALLOW],
    ['personality', [0n], ALLOW, ALLOW],
    ['personality', [0xffffffffn], ALLOW, ALLOW],
    ['personality', [0x0040000n], EPERM, EPERM],
    ['ptrace', [], ALLOW, ALLOW],
    ['process_madvise', [], EPERM, EPERM],
  ] as const;
  for (const [name, args, expected, forAdmin] of rows) {
    t.equal(plain(name, args), expected, `${name}(${args.join()})`);
    t.equal(admin(name, args), forAdmin, `${name}(${args.join()}) with CAP_SYS_ADMIN`);
  }
  t.end();
});

t.test('the default profile holds for each ABI; others end the process', (t) => {
  const profile = buildDefaultSeccomp(DEFAULT_CAPABILITIES);
  const x64 = caller(profile);
  t.equal(x64('write', [], 1), ALLOW);
  t.equal(x64('mount', [], 1), EPERM);
  t.equal(x64('clone', [0x10000000n], 1), EPERM);
  const arm64 = caller(profile, 'arm64');
  t.equal(arm64('openat'), ALLOW);
  t.equal(arm64('unshare'), EPERM);
  const { program } = compileSeccomp(profile, listAbis('x64'));
  t.equal(evaluate(program, ARCH.aarch64, 0), KILL);
  t.equal(evaluate(program, ARCH.arm, 0), KILL);
  t.equal(evaluate(program, ARCH.x86_64, 0x40000000), KILL, 'read of x32');
  t.equal(evaluate(program, ARCH.x86_64, 0xffffffff), KILL);
  t.equal(evaluate(program, ARCH.x86_64, 500), ENOSYS, 'newer than the profile');
  t.ok(program.length < 1000, `${program.length} instructions`);
  const native = compileSeccomp({ ...profile, architectures: [] }, listAbis('x64'));
  t.equal(evaluate(native.program, ARCH.i386, 4), KILL, 'an ABI that the profile does not list');
  t.end();
});

t.test('operators compare 64 bits without a sign', (t) => {
  const big = 2 ** 32 + 5;
  const rows: readonly (readonly [
    op: string,
    value: number,
    yes: readonly bigint[],
    no: readonly bigint[],
  ])[] = [
    ['EQ', big, [BigInt(big)], [5n, 2n ** 32n, 2n ** 33n + 5n]],
    ['NE', big, [5n, 2n ** 32n, 2n ** 33n + 5n], [BigInt(big)]],
    ['LT', big, [0n, 6n, BigInt(big) - 1n], [BigInt(big), BigInt(big) + 1n, 2n ** 33n, -1n]],
    ['LE', big, [0n, 6n, BigInt(big)], [BigInt(big) + 1n, 2n ** 33n, -1n]],
    ['GT', big, [BigInt(big) + 1n, 2n ** 33n, -1n], [BigInt(big), 6n, 0n]],
    ['GE', big, [BigInt(big), BigInt(big) + 1n, 2n ** 33n, -1n], [BigInt(big) - 1n, 6n, 0n]],
  ];
  for (const [op, value, yes, no] of rows) {
    const call = caller(withArgs([{ index: 3, value, op: `SCMP_CMP_${op}` }]));
    for (const argument of yes)
      t.equal(call('read', [0n, 0n, 0n, argument]), ALLOW, `${argument} ${op} ${value}`);
    for (const argument of no)
      t.equal(call('read', [0n, 0n, 0n, argument]), EPERM, `not ${argument} ${op} ${value}`);
  }
  const masked = caller(
    withArgs([{ index: 5, value: 0xff00000000f0, valueTwo: 0x120000000035, op: 'SCMP_CMP_MASKED_EQ' }]),
  );
  t.equal(masked('read', [0n, 0n, 0n, 0n, 0n, 0x12abcdef003fn]), ALLOW);
  t.equal(masked('read', [0n, 0n, 0n, 0n, 0n, 0x13abcdef003fn]), EPERM);
  t.equal(masked('read', [0n, 0n, 0n, 0n, 0n, 0x12abcdef004fn]), EPERM);
  const all = caller(withArgs([{ index: 0, value: 2 ** 64, op: 'SCMP_CMP_EQ' }]));
  t.equal(all('read', [-1n]), ALLOW, '2⁶⁴ - 1, which JSON reads as 2⁶⁴');
  t.end();
});

t.test('several arguments must all match; several of one index are alternatives', (t) => {
  const both = caller(
    withArgs([
      { index: 0, value: 1, op: 'SCMP_CMP_EQ' },
      { index: 1, value: 2, op: 'SCMP_CMP_GE' },
    ]),
  );
  t.same([both('read', [1n, 2n]), both('read', [1n, 1n]), both('read', [2n, 2n])], [ALLOW, EPERM, EPERM]);
  const either = caller(
    withArgs([
      { index: 0, value: 1, op: 'SCMP_CMP_EQ' },
      { index: 0, value: 7, op: 'SCMP_CMP_EQ' },
    ]),
  );
  t.same([either('read', [1n]), either('read', [7n]), either('read', [3n])], [ALLOW, ALLOW, EPERM]);
  t.end();
});

t.test('actions, errno and defaults of a profile', (t) => {
  const call = caller({
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [
      { names: ['chmod', 'no_such_call'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 },
      { names: ['chown'], action: 'SCMP_ACT_KILL_PROCESS' },
      { names: ['fchown'], action: 'SCMP_ACT_KILL' },
      { names: ['link'], action: 'SCMP_ACT_TRAP' },
      { names: ['unlink'], action: 'SCMP_ACT_TRACE', errnoRet: 9 },
      { names: ['rename'], action: 'SCMP_ACT_LOG' },
      { names: ['mkdir'], action: 'SCMP_ACT_ERRNO' },
      {
        names: ['mkdir'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 5,
        args: [{ index: 1, value: 3, op: 'SCMP_CMP_EQ' }],
      },
    ],
  });
  const rows = {
    chmod: 0x5000d,
    chown: KILL,
    fchown: 0,
    link: 0x30000,
    unlink: 0x7ff00009,
    rename: 0x7ffc0000,
  };
  for (const [name, value] of Object.entries(rows)) t.equal(call(name), value, name);
  t.equal(call('mkdir'), EPERM);
  t.equal(call('mkdir', [0n, 3n]), 0x50005, 'the rule with arguments goes first');
  t.equal(call('read'), ALLOW);
  const listed = caller({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 22, syscalls: [] });
  t.equal(listed('read'), 0x50016);
  const kill = { defaultAction: 'SCMP_ACT_KILL', flags: ['SECCOMP_FILTER_FLAG_LOG'] };
  t.equal(compileSeccomp(kill, listAbis('x64')).flags, 2);
  for (const bad of [
    { defaultAction: 'SCMP_ACT_NOTIFY' },
    { defaultAction: 'SCMP_ACT_KILL', flags: ['SECCOMP_FILTER_FLAG_X'] },
    withArgs([{ index: 6, value: 0, op: 'SCMP_CMP_EQ' }]),
    withArgs([{ index: 0, value: 0, op: 'SCMP_CMP_XX' }]),
  ]) {
    t.throws(() => compileSeccomp(bad, listAbis('x64')), { code: 'UNSUPPORTED' });
  }
  t.end();
});

t.test('parseSeccompProfile() reads both formats', (t) => {
  const host = { architecture: 'amd64', capabilities: ['CAP_SYS_TIME'], kernelRelease: '5.10.0-8-amd64' };
  const row = (names: readonly string[], more: object = {}) => ({ names, action: 'SCMP_ACT_ALLOW', ...more });
  const text = JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] }],
    syscalls: [
      row(['read'], { args: null, includes: {}, excludes: {} }),
      { name: 'write', action: 'SCMP_ACT_ALLOW' },
      row(['stime'], { includes: { caps: ['CAP_SYS_TIME'] } }),
      row(['mount'], { includes: { caps: ['CAP_SYS_ADMIN'] } }),
      row(['arch_prctl'], { includes: { arches: ['amd64', 'x32'] } }),
      row(['s390_pci_mmio_read'], { includes: { arches: ['s390'] } }),
      row(['ptrace'], { includes: { minKernel: '4.8' } }),
      row(['bpf'], { includes: { minKernel: '6.1' } }),
      row(['chown'], { excludes: { caps: ['CAP_SYS_TIME'] } }),
      row(['fchown'], { excludes: { arches: ['amd64'] } }),
    ],
  });
  const profile = parseSeccompProfile('/p.json', text, host);
  t.same(
    profile.syscalls?.flatMap(({ names }) => names),
    ['read', 'write', 'stime', 'arch_prctl', 'ptrace'],
  );
  t.same(profile.architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
  const oci = { defaultAction: 'SCMP_ACT_LOG', architectures: ['SCMP_ARCH_X86_64'] };
  t.match(parseSeccompProfile('/p.json', JSON.stringify(oci), host), oci);
  for (const bad of ['', '[]', '{}', '{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"action":"x"}]}']) {
    t.throws(() => parseSeccompProfile('/p.json', bad, host), { code: 'SECCOMP_PROFILE' });
  }
  t.end();
});

/** Allows read(2) with these arguments and nothing else. */
function withArgs(args: readonly OciSeccompArg[]): OciSeccomp {
  return { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', args }] };
}
