import { TkadmError } from '../../base/errors.ts';
import { BPF, type BpfInstruction, type BpfProgram, branch, load, MAX_INSTRUCTIONS, ret } from './bpf.ts';
import type {
  OciSeccomp,
  OciSeccompArg,
  OciSeccompRule,
  SeccompAction,
  SeccompOperator,
} from './oci-seccomp.ts';
import type { SyscallAbi } from './syscall-numbers.ts';

/** Offsets in `struct seccomp_data`; the arguments follow as 64-bit words, low half first. */
const OFFSET_NUMBER = 0;
const OFFSET_ARCH = 4;
const OFFSET_ARGS = 16;
const EPERM = 1;
const ENOSYS = 38;
const X32_BIT = 0x40000000;
const UINT64_MAX = 2n ** 64n - 1n;

/** Values that a filter returns, SECCOMP_RET_* of <linux/seccomp.h>; the low half carries data for two of them. */
export const SECCOMP_RET = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
} as const satisfies Record<SeccompAction, number>;

/** Flags of SECCOMP_SET_MODE_FILTER. */
export const SECCOMP_FLAGS: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
};
/** The call returns a descriptor; one thread needs no TSYNC, and the two exclude each other. */
const NEW_LISTENER = 8;

export interface SeccompFilter {
  readonly flags: number;
  readonly program: BpfProgram;
  /** seccomp(2) returns the descriptor of those who decide. */
  readonly hasListener: boolean;
}

/**
 * The filter of a profile for one machine's ABIs, seccomp(2): a binary tree over the runs of numbers with equal answers.
 * Calls of an ABI that the profile does not list end the process; so do those of x32. What is newer than every call
 * that the profile names is answered with ENOSYS, so that C libraries take an older call.
 * @throws UNSUPPORTED for actions, operators and flags that are not supported, and for SCMP_ACT_NOTIFY without a listener or
 * of what the process needs before it has one.
 */
export function compileSeccomp(profile: OciSeccomp, known: readonly SyscallAbi[]): SeccompFilter {
  checkListener(profile);
  const hasListener = usesListener(profile);
  const abis = known.filter(({ name }, index) => index === 0 || profile.architectures?.includes(name));
  const foreign = ret(SECCOMP_RET.SCMP_ACT_KILL_PROCESS);
  const program = abis.reduceRight<BpfProgram>(
    (rest, abi) => branch(BPF.JUMP_EQUAL, abi.auditArch, rest, compileAbi(profile, abi)),
    foreign,
  );
  const whole = [...load(OFFSET_ARCH), ...program];
  if (whole.length > MAX_INSTRUCTIONS) throw unsupported(`linux.seccomp of ${whole.length} instructions`);
  const flags = buildFlags(profile.flags ?? []);
  const { SECCOMP_FILTER_FLAG_TSYNC: tsync = 0 } = SECCOMP_FLAGS;
  return { flags: hasListener ? (flags & ~tsync) | NEW_LISTENER : flags, program: whole, hasListener };
}

/** True when others decide on some of the calls. */
export function usesListener({ syscalls = [] }: OciSeccomp): boolean {
  return syscalls.some(({ action }) => action === 'SCMP_ACT_NOTIFY');
}

/** As with runc: the process tells of its descriptor with write(2). */
function checkListener(profile: OciSeccomp): void {
  const { defaultAction, listenerPath, syscalls = [] } = profile;
  const isEarly = ({ action, names }: OciSeccompRule) =>
    action === 'SCMP_ACT_NOTIFY' && names.includes('write');
  if (defaultAction === 'SCMP_ACT_NOTIFY') throw unsupported('"SCMP_ACT_NOTIFY" for every call');
  if (syscalls.some(isEarly)) throw unsupported('"SCMP_ACT_NOTIFY" for write');
  if (usesListener(profile) && !listenerPath)
    throw unsupported('"SCMP_ACT_NOTIFY" without linux.seccomp.listenerPath');
}

function buildFlags(names: readonly string[]): number {
  return names.reduce((flags, name) => {
    const flag = SECCOMP_FLAGS[name];
    if (flag === undefined) throw unsupported(`linux.seccomp.flags "${name}"`);
    return flags | flag;
  }, 0);
}

/** The answer to a system call: a value, or what the arguments decide. */
interface Answer {
  /** Equal for equal answers. */
  readonly key: string;
  readonly program: BpfProgram;
}

interface Run {
  readonly start: number;
  readonly answer: Answer;
}

function compileAbi(profile: OciSeccomp, abi: SyscallAbi): BpfProgram {
  const fallback = simple(actionValue(profile.defaultAction, profile.defaultErrnoRet));
  const rules = collectRules(profile, abi);
  const answers = [...rules].map(([number, list]) => [number, buildAnswer(list, fallback)] as const);
  const highest = Math.max(-1, ...rules.keys());
  const isOldest = profile.defaultAction === 'SCMP_ACT_ERRNO' && (profile.defaultErrnoRet ?? EPERM) === EPERM;
  const newer = isOldest ? simple(SECCOMP_RET.SCMP_ACT_ERRNO | ENOSYS) : fallback;
  const runs = buildRuns(answers, fallback, { number: highest + 1, answer: newer });
  const tree = buildTree(runs);
  return [...load(OFFSET_NUMBER), ...(abi.name === 'SCMP_ARCH_X86_64' ? refuseX32(tree) : tree)];
}

/** Calls of x32 have the same AUDIT_ARCH as those of x86-64. */
function refuseX32(tree: BpfProgram): BpfProgram {
  return branch(BPF.JUMP_GREATER_EQUAL, X32_BIT, tree, ret(SECCOMP_RET.SCMP_ACT_KILL_PROCESS));
}

function collectRules(profile: OciSeccomp, abi: SyscallAbi): ReadonlyMap<number, readonly OciSeccompRule[]> {
  const rules = new Map<number, OciSeccompRule[]>();
  for (const rule of profile.syscalls ?? []) {
    for (const name of rule.names) {
      const number = abi.numbers.get(name);
      if (number === undefined) continue;
      const list = rules.get(number);
      if (list === undefined) rules.set(number, [rule]);
      else list.push(rule);
    }
  }
  return rules;
}

function buildAnswer(rules: readonly OciSeccompRule[], fallback: Answer): Answer {
  const plain = rules.find((rule) => (rule.args ?? []).length === 0);
  const rest = plain === undefined ? fallback : simple(actionValue(plain.action, plain.errnoRet));
  const conditions = rules.flatMap(splitRule);
  if (conditions.length === 0) return rest;
  const chain = conditions.flatMap(({ args, value }) => compileCondition(args, value));
  return { key: JSON.stringify(conditions) + rest.key, program: [...chain, ...rest.program] };
}

interface Condition {
  readonly args: readonly OciSeccompArg[];
  readonly value: number;
}

/** All arguments of a rule must match; several of one index are alternatives, as with runc. */
function splitRule(rule: OciSeccompRule): readonly Condition[] {
  const args = rule.args ?? [];
  const value = args.length === 0 ? 0 : actionValue(rule.action, rule.errnoRet);
  if (args.length === 0) return [];
  const isRepeated = new Set(args.map(({ index }) => index)).size < args.length;
  return isRepeated ? args.map((arg) => ({ args: [arg], value })) : [{ args, value }];
}

function simple(value: number): Answer {
  return { key: `=${value}`, program: ret(value) };
}

function buildRuns(
  answers: readonly (readonly [number, Answer])[],
  fallback: Answer,
  end: { readonly number: number; readonly answer: Answer },
): readonly Run[] {
  const byNumber = new Map(answers);
  const runs: Run[] = [];
  for (let number = 0; number <= end.number; number += 1) {
    const answer = number === end.number ? end.answer : (byNumber.get(number) ?? fallback);
    if (runs.at(-1)?.answer.key !== answer.key) runs.push({ start: number, answer });
  }
  return runs;
}

function buildTree(runs: readonly Run[]): BpfProgram {
  if (runs.length === 1) return runs[0]!.answer.program;
  const middle = runs.length >> 1;
  const [below, above] = [buildTree(runs.slice(0, middle)), buildTree(runs.slice(middle))];
  return branch(BPF.JUMP_GREATER_EQUAL, runs[middle]!.start, below, above);
}

/** Where a comparison leads: to the next instruction, past this argument, or past the whole rule. */
type Target = 'next' | 'pass' | 'fail';
type Step = readonly [code: number, k: number, whenTrue?: Target, whenFalse?: Target];

/** A rule's comparisons and its answer; behind them is the next rule. */
function compileCondition(args: readonly OciSeccompArg[], value: number): BpfProgram {
  const blocks = args.map(buildComparison);
  const length = blocks.reduce((sum, block) => sum + block.length, 0) + 1;
  const program: BpfInstruction[] = [];
  for (const block of blocks) {
    const blockEnd = program.length + block.length;
    for (const [code, k, whenTrue = 'next', whenFalse = 'next'] of block) {
      const distance = (target: Target) =>
        target === 'next' ? 0 : (target === 'pass' ? blockEnd : length) - program.length - 1;
      program.push({ code, k: k >>> 0, jumpTrue: distance(whenTrue), jumpFalse: distance(whenFalse) });
    }
  }
  return [...program, ...ret(value)];
}

function buildComparison(arg: OciSeccompArg): readonly Step[] {
  if (!Number.isInteger(arg.index) || arg.index < 0 || arg.index > 5) {
    throw unsupported(`linux.seccomp argument ${arg.index}`);
  }
  const build = (COMPARISONS as Readonly<Record<string, Comparison>>)[arg.op];
  if (build === undefined) throw unsupported(`linux.seccomp operator "${arg.op}"`);
  const offset = OFFSET_ARGS + 8 * arg.index;
  const [low, high] = [
    [BPF.LOAD, offset],
    [BPF.LOAD, offset + 4],
  ] as const;
  return build(high, low, { value: halves(arg.value), second: halves(arg.valueTwo ?? 0) });
}

interface Halves {
  readonly low: number;
  readonly high: number;
}
type Comparison = (
  high: Step,
  low: Step,
  operand: { readonly value: Halves; readonly second: Halves },
) => readonly Step[];

const { JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL } = BPF;

/** Comparisons of 64 bits by halves. */
const COMPARISONS: Readonly<Record<SeccompOperator, Comparison>> = {
  SCMP_CMP_EQ: (high, low, { value }) => [
    high,
    [JUMP_EQUAL, value.high, 'next', 'fail'],
    low,
    [JUMP_EQUAL, value.low, 'pass', 'fail'],
  ],
  SCMP_CMP_NE: (high, low, { value }) => [
    high,
    [JUMP_EQUAL, value.high, 'next', 'pass'],
    low,
    [JUMP_EQUAL, value.low, 'fail', 'pass'],
  ],
  SCMP_CMP_GT: (high, low, { value }) => greater(high, low, value, JUMP_GREATER),
  SCMP_CMP_GE: (high, low, { value }) => greater(high, low, value, JUMP_GREATER_EQUAL),
  SCMP_CMP_LE: (high, low, { value }) => invert(greater(high, low, value, JUMP_GREATER)),
  SCMP_CMP_LT: (high, low, { value }) => invert(greater(high, low, value, JUMP_GREATER_EQUAL)),
  SCMP_CMP_MASKED_EQ: (high, low, { value, second }) => [
    high,
    [BPF.AND, value.high],
    [JUMP_EQUAL, (second.high & value.high) >>> 0, 'next', 'fail'],
    low,
    [BPF.AND, value.low],
    [JUMP_EQUAL, (second.low & value.low) >>> 0, 'pass', 'fail'],
  ],
};

/** The comparisons that are supported. */
export const SECCOMP_OPERATORS = Object.keys(COMPARISONS);

function greater(high: Step, low: Step, value: Halves, last: number): readonly Step[] {
  return [
    high,
    [JUMP_GREATER, value.high, 'pass', 'next'],
    [JUMP_EQUAL, value.high, 'next', 'fail'],
    low,
    [last, value.low, 'pass', 'fail'],
  ];
}

function invert(steps: readonly Step[]): readonly Step[] {
  const swap = (target: Target | undefined): Target =>
    target === 'pass' ? 'fail' : target === 'fail' ? 'pass' : 'next';
  return steps.map(([code, k, whenTrue, whenFalse]) => [code, k, swap(whenTrue), swap(whenFalse)]);
}

/** JSON has numbers as doubles: 2⁶⁴ - 1 is read as 2⁶⁴. */
function halves(value: number): Halves {
  const whole = BigInt(Math.trunc(value));
  const clamped = whole > UINT64_MAX ? UINT64_MAX : BigInt.asUintN(64, whole);
  return { low: Number(clamped & 0xffffffffn), high: Number(clamped >> 32n) };
}

function actionValue(action: string, data: number | undefined): number {
  const value = (SECCOMP_RET as Readonly<Record<string, number>>)[action];
  if (value === undefined) throw unsupported(`linux.seccomp action "${action}"`);
  const hasData = action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE';
  return hasData ? (value | ((data ?? EPERM) & 0xffff)) >>> 0 : value;
}

function unsupported(field: string): TkadmError {
  return new TkadmError('UNSUPPORTED', `Cannot filter system calls: ${field} is not supported`);
}
