import type { OciResources } from '../oci-spec.ts';

type DeviceRule = NonNullable<OciResources['devices']>[number];

/** Access bits of a device program's context, <linux/bpf.h> BPF_DEVCG_ACC_*. */
const ACCESS_BITS = { m: 1, r: 2, w: 4 } as const;
const ALL_ACCESS = 7;
/** BPF_DEVCG_DEV_*. */
const TYPE_NUMBERS: Readonly<Record<string, number>> = { b: 1, c: 2, u: 2 };

/** Registers of the program: the type, access, major and minor that are asked for, and one to compute in. */
const REGISTER = { result: 0, scratch: 1, type: 2, access: 3, major: 4, minor: 5 } as const;

/** Operation codes, the kernel's Documentation/bpf/instruction-set. */
const CODE = {
  loadWord: 0x61,
  move: 0xbc,
  moveNumber: 0xb4,
  and: 0x54,
  shiftRight: 0x74,
  jumpIfEqual: 0x15,
  jumpUnlessEqual: 0x55,
  exit: 0x95,
} as const;

interface Instruction {
  readonly code: number;
  readonly destination?: number;
  readonly source?: number;
  readonly offset?: number;
  readonly number?: number;
}

/** A test that leads to the next rule when it fails; its jump is set when the rule's length is known. */
interface Test {
  readonly before: readonly Instruction[];
  readonly code: number;
  readonly register: number;
  readonly number: number;
}

/**
 * The program of BPF_PROG_TYPE_CGROUP_DEVICE that judges by these rules: as on cgroup v1 a later rule wins over an
 * earlier one, and what no rule names is refused. undefined when everything is allowed.
 *
 *     struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }   access_type = access << 16 | type
 */
export function buildDeviceProgram(rules: readonly DeviceRule[]): Buffer | undefined {
  const last = rules.at(-1);
  if (last?.allow && isEverything(last)) return undefined;
  const from = rules.findLastIndex(isEverything);
  const instructions = [
    { code: CODE.loadWord, destination: REGISTER.type, source: REGISTER.scratch },
    { code: CODE.move, destination: REGISTER.access, source: REGISTER.type },
    { code: CODE.and, destination: REGISTER.type, number: 0xffff },
    { code: CODE.shiftRight, destination: REGISTER.access, number: 16 },
    { code: CODE.loadWord, destination: REGISTER.major, source: REGISTER.scratch, offset: 4 },
    { code: CODE.loadWord, destination: REGISTER.minor, source: REGISTER.scratch, offset: 8 },
    ...rules
      .slice(from + 1)
      .reverse()
      .flatMap(buildRule),
    ...buildAnswer(rules[from]?.allow ?? false),
  ];
  return Buffer.concat(instructions.map(encode));
}

function isEverything({ type = 'a', major, minor, access }: DeviceRule): boolean {
  return type === 'a' && isAny(major) && isAny(minor) && readAccess(access) === ALL_ACCESS;
}

function isAny(number: number | undefined): boolean {
  return number === undefined || number < 0;
}

function readAccess(text = 'rwm'): number {
  return Object.entries(ACCESS_BITS).reduce(
    (bits, [letter, bit]) => (text.includes(letter) ? bits | bit : bits),
    0,
  );
}

/** An allowing rule must cover all of the access that is asked for; a denying one needs to meet a part of it. */
function buildRule({ allow, type = 'a', major, minor, access }: DeviceRule): readonly Instruction[] {
  const bits = readAccess(access);
  const mask = (number: number): readonly Instruction[] => [
    { code: CODE.move, destination: REGISTER.scratch, source: REGISTER.access },
    { code: CODE.and, destination: REGISTER.scratch, number },
  ];
  const isAll = bits === ALL_ACCESS;
  const tests: readonly (Test | false)[] = [
    type !== 'a' && must(REGISTER.type, TYPE_NUMBERS[type] ?? 0),
    !isAll && allow && { ...must(REGISTER.scratch, 0), before: mask(ALL_ACCESS & ~bits) },
    !isAll && !allow && { code: CODE.jumpIfEqual, register: REGISTER.scratch, number: 0, before: mask(bits) },
    !isAny(major) && must(REGISTER.major, major ?? 0),
    !isAny(minor) && must(REGISTER.minor, minor ?? 0),
  ];
  return buildTests(
    tests.filter((test) => test !== false),
    buildAnswer(allow),
  );
}

function must(register: number, number: number): Test {
  return { before: [], code: CODE.jumpUnlessEqual, register, number };
}

/** The tests one after the other, then the answer; a failed test jumps behind it. */
function buildTests(
  [test, ...later]: readonly Test[],
  answer: readonly Instruction[],
): readonly Instruction[] {
  if (test === undefined) return answer;
  const rest = buildTests(later, answer);
  const { before, code, register, number } = test;
  return [...before, { code, destination: register, number, offset: rest.length }, ...rest];
}

function buildAnswer(isAllowed: boolean): readonly Instruction[] {
  return [
    { code: CODE.moveNumber, destination: REGISTER.result, number: isAllowed ? 1 : 0 },
    { code: CODE.exit },
  ];
}

/** `struct bpf_insn { u8 code; u8 dst_reg:4, src_reg:4; s16 off; s32 imm; }`, little-endian. */
function encode({ code, destination = 0, source = 0, offset = 0, number = 0 }: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(code, 0);
  bytes.writeUInt8(destination | (source << 4), 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(number, 4);
  return bytes;
}
