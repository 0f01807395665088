import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { lastErrno, openCLibrary } from '../base/c-library.ts';
import { errnoName } from '../base/errno.ts';
import { TkadmError } from '../base/errors.ts';
import { openSocket } from './sockets.ts';

/** Netlink families, <linux/netlink.h>. */
export const NETLINK = { route: 0, netfilter: 12 } as const;
/** Flags of nlmsghdr. */
export const NLM_F = { request: 1, ack: 4, dump: 0x300, exclusive: 0x200, create: 0x400 } as const;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const RECEIVE_TIMEOUT_S = 2n;
const NLMSG = { error: 2, done: 3 } as const;
const HEADER_BYTES = 16;
/** The upper bits of an attribute's type are flags. */
const TYPE_MASK = 0x3fff;
const NESTED = 0x8000;

export interface NetlinkMessage {
  readonly type: number;
  /** NLM_F bits; request and ack are added. */
  readonly flags?: number;
  /** The family's own header and the attributes. */
  readonly body: Buffer;
  /** What the message does, for the error: "add link tk01". */
  readonly step: string;
}

/** A netlink socket of one network namespace (netlink(7)); one request at a time. */
export interface Netlink {
  /** Sends a request; returns the bodies of the answers. @throws NetlinkError */
  ask(message: NetlinkMessage): readonly Buffer[];
  /** The same, with the kernel's work off this thread: taking a link away waits for grace periods. */
  askAside(message: NetlinkMessage): Promise<readonly Buffer[]>;
  close(): void;
}

/** The kernel's refusal; `errno` by its name, "EEXIST". */
export class NetlinkError extends TkadmError {
  readonly errno: string;

  constructor(step: string, errno: number) {
    const name = errnoName(errno);
    super('NETWORK_COMMAND', `Cannot ${step}: ${name}`);
    this.errno = name;
  }
}

/** @throws NETWORK_COMMAND when the socket cannot be made or the namespace cannot be entered. */
export function openNetlink(protocol: number, netnsPath?: string): Netlink {
  const declare = openCLibrary();
  const setsockopt = declare('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32_t']);
  const send = declare('send', 'long', ['int', 'void *', 'size_t', 'int']);
  const recv = declare('recv', 'long', ['int', 'void *', 'size_t', 'int']);
  const fd = openSocket({ family: AF_NETLINK, type: SOCK_RAW, protocol }, netnsPath);
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(RECEIVE_TIMEOUT_S);
  setsockopt()(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length);
  const buffer = Buffer.alloc(1 << 16);

  const receive = (step: string): readonly Buffer[] => {
    const answers: Buffer[] = [];
    for (;;) {
      const length = recv()(fd, buffer, buffer.length, 0);
      if (length < 0) throw new NetlinkError(step, lastErrno());
      for (const { type, body } of splitMessages(Buffer.from(buffer.subarray(0, length)))) {
        if (type === NLMSG.done) return answers;
        if (type !== NLMSG.error) answers.push(body);
        else if (body.readInt32LE(0) === 0) return answers;
        else throw new NetlinkError(step, -body.readInt32LE(0));
      }
    }
  };
  return {
    ask(message) {
      const request = encode(message);
      if (send()(fd, request, request.length, 0) < 0) {
        throw new NetlinkError(message.step, lastErrno());
      }
      return receive(message.step);
    },
    async askAside(message) {
      const request = encode(message);
      await new Promise<void>((resolve, reject) => {
        send().async(fd, request, request.length, 0, (error: unknown, sent: number) => {
          if (error || sent < 0) reject(error ?? new NetlinkError(message.step, constants.errno.EIO));
          else resolve();
        });
      });
      return receive(message.step);
    },
    close: () => closeSync(fd),
  };
}

/** One attribute, nlattr { u16 length with header, u16 type }, value, padded to 4 bytes (netlink(7)). */
export function attribute(type: number, value: Buffer | string | number): Buffer {
  const bytes =
    typeof value === 'string' ? Buffer.from(`${value}\0`) : typeof value === 'number' ? u32(value) : value;
  const whole = Buffer.alloc((4 + bytes.length + 3) & ~3);
  whole.writeUInt16LE(4 + bytes.length, 0);
  whole.writeUInt16LE(type, 2);
  bytes.copy(whole, 4);
  return whole;
}

/** An attribute that holds attributes. */
export function nested(type: number, ...attributes: readonly Buffer[]): Buffer {
  return attribute(type | NESTED, Buffer.concat(attributes));
}

export interface Attribute {
  readonly value: Buffer;
  /** With header and padding. */
  readonly whole: Buffer;
}

/** Attributes by type, without the flags of the type. */
export function parseAttributes(data: Buffer): ReadonlyMap<number, Attribute> {
  const found = new Map<number, Attribute>();
  for (let offset = 0; offset + 4 <= data.length; ) {
    const length = data.readUInt16LE(offset);
    if (length < 4) break;
    const end = offset + ((length + 3) & ~3);
    found.set(data.readUInt16LE(offset + 2) & TYPE_MASK, {
      value: data.subarray(offset + 4, offset + length),
      whole: data.subarray(offset, end),
    });
    offset = end;
  }
  return found;
}

/** nlmsghdr { u32 length, u16 type, u16 flags, u32 sequence, u32 pid }; a dump ends by itself, without an ack. */
function encode({ type, flags = 0, body }: NetlinkMessage): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const isDump = (flags & NLM_F.dump) === NLM_F.dump;
  header.writeUInt32LE(HEADER_BYTES + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags | NLM_F.request | (isDump ? 0 : NLM_F.ack), 6);
  return Buffer.concat([header, body]);
}

function* splitMessages(data: Buffer): Generator<{ readonly type: number; readonly body: Buffer }> {
  for (let offset = 0; offset + HEADER_BYTES <= data.length; ) {
    const length = data.readUInt32LE(offset);
    if (length < HEADER_BYTES) return;
    yield {
      type: data.readUInt16LE(offset + 4),
      body: data.subarray(offset + HEADER_BYTES, offset + length),
    };
    offset += (length + 3) & ~3;
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
