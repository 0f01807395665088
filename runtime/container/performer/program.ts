import { constants } from 'node:os';
import { errnoName } from '../../base/errno.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { PROGRAM_ADDRESS, PROGRAM_SIZE, RECORD } from './machine.ts';

/** Bytes of a section: strings, structures, and words that results go to. */
export interface DataRef {
  readonly section: Section;
  readonly offset: number;
}

/** A place among a section's records; undefined until place(). */
export interface Label {
  readonly section: Section;
  index?: number;
}

/** A number, the address of data or of a section, the word that lies at an address, or a section's size. */
export type Value =
  | number
  | bigint
  | DataRef
  | Section
  | { readonly at: DataRef }
  | { readonly sizeOf: Section };

export interface CallOptions {
  /** Where the result goes. */
  readonly into?: DataRef;
  /** Goes on at the label when the result is this number; two at most. */
  readonly on?: readonly (readonly [result: number, target: Label])[];
  /** Goes on there after any other failure; without it the program ends. */
  readonly onError?: Label;
}

/** What a failure means for the administrator: the text, given the errno's name. */
export type Explain = (code: string) => string;

interface Record {
  readonly name: string;
  readonly args: readonly Value[];
  readonly options: CallOptions;
  readonly explain: Explain;
}

const PAGE_SIZE = 4096;
const WORD_SIZE = 8;
const MADV_DONTNEED = 4;
/** No call has this result. */
const NEVER = 0x7fffffff;

/** The second descriptor of pipe2(2), which are 32 bits each. */
export function writeEnd({ section, offset }: DataRef): DataRef {
  return { section, offset: offset + 4 };
}

/** The errno's number, negative, as calls return it. */
export function failed(code: keyof typeof constants.errno): number {
  return -constants.errno[code];
}

/**
 * System calls one after the other, with the data that they need. Blocks that are seldom run are put behind the others,
 * so that the usual way has no jumps.
 */
export class Section {
  readonly records: Record[] = [];
  #data = Buffer.alloc(PAGE_SIZE);
  readonly #texts = new Map<string, DataRef>();
  readonly #pointers: { readonly offset: number; readonly to: DataRef }[] = [];
  readonly #late: (() => void)[] = [];
  #dataSize = 0;
  #step: Explain = (code) => code;

  /** Names what the following calls are for: "mount \"x\" at \"/y\"" is shown with the errno behind it. */
  step(explain: string | Explain): void {
    this.#step = typeof explain === 'string' ? (code) => `${explain}: ${code}` : explain;
  }

  call(name: string, args: readonly Value[], options: CallOptions = {}): void {
    this.records.push({ name, args, options, explain: this.#step });
  }

  /** Goes on at the label. */
  jump(target: Label): void {
    this.call('', [0], { on: [[0, target]] });
  }

  /** Goes on at a label by a word's low half. */
  compare(word: DataRef, on: NonNullable<CallOptions['on']>): void {
    this.call('', [{ at: word }], { on });
  }

  /** Ends the program with this errno. */
  fail(code: keyof typeof constants.errno): void {
    this.call('', [failed(code)]);
  }

  label(): Label {
    return { section: this };
  }

  /** The label is before the next call. */
  place(label: Label): void {
    label.index = this.records.length;
  }

  /** Builds the block behind all others; it must end with a jump or a failure. */
  later(build: () => void): void {
    const step = this.#step;
    this.#late.push(() => {
      this.#step = step;
      build();
    });
  }

  /** Gives back the memory of a section that another process runs: environments hold secrets. */
  forget(other: Section): void {
    const next = this.label();
    this.call('madvise', [other, { sizeOf: other }, MADV_DONTNEED], { onError: next });
    this.place(next);
  }

  bytes(content: Buffer): DataRef {
    const ref = this.room(content.length);
    content.copy(this.#data, ref.offset);
    return ref;
  }

  /** Zero bytes; a word for a result without an argument. */
  room(size = WORD_SIZE): DataRef {
    const offset = this.#dataSize;
    this.#dataSize += Math.ceil(size / WORD_SIZE) * WORD_SIZE;
    if (this.#dataSize > this.#data.length) {
      this.#data = Buffer.concat([this.#data], Math.max(this.#dataSize, 2 * this.#data.length));
    }
    return { section: this, offset };
  }

  /** A string with its zero byte; equal ones are one. */
  text(content: string): DataRef {
    let ref = this.#texts.get(content);
    if (ref === undefined) {
      ref = this.room(Buffer.byteLength(content) + 1);
      this.#data.write(content, ref.offset);
      this.#texts.set(content, ref);
    }
    return ref;
  }

  /** The string that lies there; undefined for other data. */
  readText({ offset }: DataRef): string | undefined {
    for (const [text, ref] of this.#texts) if (ref.offset === offset) return text;
    return undefined;
  }

  /** Addresses one after the other, with a null behind: `argv`. */
  pointers(targets: readonly DataRef[]): DataRef {
    const ref = this.room((targets.length + 1) * WORD_SIZE);
    for (const [index, to] of targets.entries()) this.#pointers.push({ offset: ref.offset + index * 8, to });
    return ref;
  }

  /** Writes an address into data of this section. */
  point(at: DataRef, shift: number, to: DataRef): void {
    this.#pointers.push({ offset: at.offset + shift, to });
  }

  /** Puts the late blocks in place; nothing may be added any more. */
  close(): void {
    for (let build = this.#late.shift(); build !== undefined; build = this.#late.shift()) build();
  }

  /** What the record's failure means. */
  explain(index: number, result: number): string | undefined {
    return this.records[index]?.explain(errnoName(-result));
  }

  get codeSize(): number {
    return this.records.length * RECORD.size;
  }

  get size(): number {
    return this.codeSize + this.#dataSize;
  }

  writeData(target: Buffer, offset: number, addressOf: (ref: DataRef) => number): void {
    this.#data.copy(target, offset, 0, this.#dataSize);
    for (const { offset: at, to } of this.#pointers) {
      target.writeUInt32LE(addressOf(to), offset + at);
    }
  }
}

/** A program for the performer, and what it takes to read its reports. */
export interface LinkedProgram {
  readonly bytes: Buffer;
  /** The text of a failure: the record's address and the call's result, which is negative. */
  readonly explain: (address: number, result: number) => string;
  readonly sections: readonly Section[];
  /** The address of a section's first record. */
  readonly start: (section: Section) => number;
}

/** The first word is the address of the first record. */
const HEADER_SIZE = 16;

/**
 * Places sections in memory, each on pages of its own, the first one's first record being where the program begins.
 * @throws Error when the program is too long or a call is unknown.
 */
export function linkProgram(sections: readonly Section[], { abis }: Pick<Machine, 'abis'>): LinkedProgram {
  const numbers = abis[0]!.numbers;
  const bases = new Map<Section, number>();
  let end = PROGRAM_ADDRESS + HEADER_SIZE;
  for (const section of sections) {
    section.close();
    bases.set(section, end);
    end = Math.ceil((end + section.size) / PAGE_SIZE) * PAGE_SIZE;
  }
  if (end > PROGRAM_ADDRESS + PROGRAM_SIZE) throw new Error('arguments and environment: too long');
  const addressOf = ({ section, offset }: DataRef) => bases.get(section)! + section.codeSize + offset;
  const bytes = Buffer.alloc(end - PROGRAM_ADDRESS);
  bytes.writeBigUInt64LE(BigInt(PROGRAM_ADDRESS + HEADER_SIZE));
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const context = { bases, addressOf, scratch: PROGRAM_ADDRESS + 8, numbers };
  for (const section of sections) {
    let position = bases.get(section)! - PROGRAM_ADDRESS;
    for (const record of section.records) {
      writeRecord(words, position / 4, record, context);
      position += RECORD.size;
    }
    section.writeData(bytes, position, addressOf);
  }
  return {
    bytes,
    sections,
    start: (section) => bases.get(section)!,
    explain(address, result) {
      const section = sections.find((one) => isInside(address, bases.get(one)!, one.codeSize));
      const text = section?.explain((address - bases.get(section)!) / RECORD.size, result);
      return text ?? `record at ${address}: ${errnoName(-result)}`;
    },
  };
}

function isInside(address: number, base: number, size: number): boolean {
  return address >= base && address < base + size;
}

interface LinkContext {
  readonly bases: ReadonlyMap<Section, number>;
  readonly addressOf: (ref: DataRef) => number;
  readonly scratch: number;
  readonly numbers: ReadonlyMap<string, number>;
}

/** Fields of RECORD in words of 32 bits; much quicker than Buffer's methods, of which there would be ten thousand. */
const FIELD = {
  call: RECORD.call / 4,
  indirect: RECORD.indirect / 4,
  args: RECORD.args / 4,
  result: RECORD.result / 4,
  equalA: RECORD.equalA / 4,
  targetA: RECORD.targetA / 4,
  equalB: RECORD.equalB / 4,
  targetB: RECORD.targetB / 4,
  onError: RECORD.onError / 4,
} as const;

/** Writes a record at an index of `words`, which take numbers modulo 2^32. */
function writeRecord(words: Int32Array, base: number, record: Record, context: LinkContext): void {
  const { name, args, options } = record;
  const number = name === '' ? -1 : context.numbers.get(name);
  if (number === undefined) throw new Error(`system call "${name}": not known`);
  words[base + FIELD.call] = number;
  let indirect = 0;
  for (let index = 0; index < args.length; index += 1) {
    const value = args[index]!;
    const at = base + FIELD.args + index * 2;
    if (typeof value === 'number') {
      words[at] = value;
      words[at + 1] = Math.floor(value / 2 ** 32);
    } else if (typeof value === 'bigint') {
      words[at] = Number(BigInt.asIntN(32, value));
      words[at + 1] = Number(BigInt.asIntN(32, value >> 32n));
    } else {
      if ('at' in value) indirect |= 1 << index;
      words[at] = addressOfValue(value, context);
    }
  }
  words[base + FIELD.indirect] = indirect;
  words[base + FIELD.result] = options.into === undefined ? context.scratch : context.addressOf(options.into);
  const [first = [NEVER, undefined], second = [NEVER, undefined]] = options.on ?? [];
  words[base + FIELD.equalA] = first[0];
  words[base + FIELD.targetA] = labelAddress(first[1], context);
  words[base + FIELD.equalB] = second[0];
  words[base + FIELD.targetB] = labelAddress(second[1], context);
  words[base + FIELD.onError] = labelAddress(options.onError, context);
}

function addressOfValue(value: Exclude<Value, number | bigint>, { addressOf, bases }: LinkContext): number {
  if (value instanceof Section) return bases.get(value)!;
  if ('sizeOf' in value) return value.sizeOf.size;
  return addressOf('at' in value ? value.at : value);
}

function labelAddress(label: Label | undefined, { bases }: LinkContext): number {
  if (label === undefined) return 0;
  if (label.index === undefined) throw new Error('a label has no place');
  return bases.get(label.section)! + label.index * RECORD.size;
}
