import koffi from 'koffi';
import { TkadmError } from '../../base/errors.ts';
import { formatIpv4 } from '../address.ts';
import type { ServicePort } from './service-model.ts';

/** A UDP flow that the kernel tracks: where its client sends to, and who answers. */
export interface UdpFlow {
  readonly address: string;
  readonly port: number;
  /** Endpoint that the flow was led to; the same as `address` and `port` without translation. */
  readonly answeredBy: string;
  readonly answeredPort: number;
  /** Attributes that name the flow to the kernel: CTA_TUPLE_ORIG, CTA_ZONE and CTA_ID as they came. */
  readonly identity: Buffer;
}

/** The kernel's connection tracking of this network namespace over netlink; needs CAP_NET_ADMIN. */
export interface Conntrack {
  /** All IPv4 UDP flows. @throws NETWORK_COMMAND */
  listUdp(): readonly UdpFlow[];
  /** Forgets flows; returns how many were still there. @throws NETWORK_COMMAND */
  delete(flows: readonly UdpFlow[]): number;
  close(): void;
}

const AF = { inet: 2, netlink: 16 } as const;
/** SOCK_RAW | SOCK_CLOEXEC */
const SOCKET_TYPE = 3 | 0o2000000;
const NETLINK_NETFILTER = 12;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const IPPROTO_UDP = 17;
const ENOENT = 2;

/** nlmsghdr types and flags, <linux/netlink.h>; NFNL_SUBSYS_CTNETLINK is 1. */
const NLMSG = { error: 2, done: 3 } as const;
const NLM_F = { request: 1, ack: 4, dump: 0x300 } as const;
const CT_GET = (1 << 8) | 1;
const CT_DELETE = (1 << 8) | 2;
/** Attributes, <linux/netfilter/nfnetlink_conntrack.h>; the upper bits of a type are flags. */
const CTA = { tupleOriginal: 1, tupleReply: 2, id: 12, zone: 18 } as const;
const TUPLE = {
  ip: 1,
  proto: 2,
  v4Source: 1,
  v4Target: 2,
  protoNumber: 1,
  sourcePort: 2,
  targetPort: 3,
} as const;
const TYPE_MASK = 0x3fff;
/** nlmsghdr and nfgenmsg. */
const HEADER_BYTES = 20;

/** Opens a netlink socket. @throws NETWORK_COMMAND */
export function openConntrack(): Conntrack {
  const libc = koffi.load('libc.so.6');
  const openSocket = libc.func('socket', 'int', ['int', 'int', 'int']);
  const setsockopt = libc.func('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32']);
  const sendBytes = libc.func('send', 'int64', ['int', 'void *', 'size_t', 'int']);
  const receiveBytes = libc.func('recv', 'int64', ['int', 'void *', 'size_t', 'int']);
  const closeDescriptor = libc.func('close', 'int', ['int']);
  const check = (result: number | bigint, call: string): number => {
    if (Number(result) >= 0) return Number(result);
    throw failure(call, koffi.errno());
  };
  const fd = check(openSocket(AF.netlink, SOCKET_TYPE, NETLINK_NETFILTER), 'socket');
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(2n);
  check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length), 'setsockopt');
  const buffer = Buffer.alloc(1 << 16);

  /** Sends one request and hands every message of the answer on; returns the error number of the end, or 0. */
  const ask = (request: Buffer, onMessage: (body: Buffer) => void): number => {
    check(sendBytes(fd, request, request.length, 0), 'send');
    for (;;) {
      const length = check(receiveBytes(fd, buffer, buffer.length, 0), 'recv');
      for (const message of splitMessages(buffer.subarray(0, length))) {
        if (message.type === NLMSG.done) return 0;
        if (message.type === NLMSG.error) return -message.body.readInt32LE(0);
        onMessage(message.body.subarray(4));
      }
    }
  };

  return {
    listUdp() {
      const flows: UdpFlow[] = [];
      const errno = ask(buildRequest(CT_GET, NLM_F.request | NLM_F.dump), (body) => {
        const flow = parseUdpFlow(body);
        if (flow) flows.push(flow);
      });
      if (errno !== 0) throw failure('list', errno);
      return flows;
    },
    delete(flows) {
      let count = 0;
      for (const flow of flows) {
        const request = buildRequest(CT_DELETE, NLM_F.request | NLM_F.ack, flow.identity);
        const errno = ask(request, () => {});
        if (errno !== 0 && errno !== ENOENT) throw failure('delete', errno);
        if (errno === 0) count += 1;
      }
      return count;
    },
    close: () => closeDescriptor(fd),
  };
}

/**
 * The flows that lead where no endpoint of their Service is any more, and those from before it had one. UDP has
 * no end of a connection, so a client with a fixed port would be sent there for as long as it talks.
 */
export function selectStaleFlows(
  flows: readonly UdpFlow[],
  ports: readonly ServicePort[],
): readonly UdpFlow[] {
  const byAddress = new Map<string, ServicePort>();
  const byNodePort = new Map<number, ServicePort>();
  for (const port of ports.filter(({ protocol, all }) => protocol === 'udp' && all.length > 0)) {
    for (const ip of [...port.clusterIps, ...port.externalIps]) byAddress.set(`${ip}:${port.port}`, port);
    if (port.nodePort) byNodePort.set(port.nodePort, port);
  }
  return flows.filter((flow) => {
    const port = byAddress.get(`${flow.address}:${flow.port}`) ?? byNodePort.get(flow.port);
    if (!port) return false;
    return !port.all.some(
      ({ address, port: number }) => address === flow.answeredBy && number === flow.answeredPort,
    );
  });
}

/** nlmsghdr { u32 length, u16 type, u16 flags, u32 sequence, u32 pid }, nfgenmsg { u8 family, u8 version, u16 id }. */
function buildRequest(type: number, flags: number, attributes: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES + attributes.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt8(AF.inet, 16);
  return Buffer.concat([header, attributes]);
}

function* splitMessages(data: Buffer): Generator<{ readonly type: number; readonly body: Buffer }> {
  for (let offset = 0; offset + 16 <= data.length; ) {
    const length = data.readUInt32LE(offset);
    if (length < 16) return;
    yield { type: data.readUInt16LE(offset + 4), body: data.subarray(offset + 16, offset + length) };
    offset += (length + 3) & ~3;
  }
}

interface Attribute {
  readonly value: Buffer;
  /** With header and padding. */
  readonly whole: Buffer;
}

/** nlattr { u16 length with header, u16 type }, value, padding to 4 bytes (netlink(7)). */
function parseAttributes(data: Buffer): ReadonlyMap<number, Attribute> {
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

function parseUdpFlow(body: Buffer): UdpFlow | undefined {
  const attributes = parseAttributes(body);
  const original = attributes.get(CTA.tupleOriginal);
  const reply = attributes.get(CTA.tupleReply);
  if (!original || !reply) return undefined;
  const target = parseEnd(original.value, TUPLE.v4Target, TUPLE.targetPort);
  const source = parseEnd(reply.value, TUPLE.v4Source, TUPLE.sourcePort);
  if (!target || !source) return undefined;
  const parts = [original, attributes.get(CTA.zone), attributes.get(CTA.id)];
  return {
    ...target,
    answeredBy: source.address,
    answeredPort: source.port,
    identity: Buffer.concat(parts.flatMap((part) => (part ? [part.whole] : []))),
  };
}

/** One end of a tuple; undefined when it is not UDP over IPv4. */
function parseEnd(tuple: Buffer, ipType: number, portType: number) {
  const attributes = parseAttributes(tuple);
  const ip = parseAttributes(attributes.get(TUPLE.ip)?.value ?? Buffer.alloc(0)).get(ipType)?.value;
  const proto = parseAttributes(attributes.get(TUPLE.proto)?.value ?? Buffer.alloc(0));
  const port = proto.get(portType)?.value;
  if (proto.get(TUPLE.protoNumber)?.value[0] !== IPPROTO_UDP || ip?.length !== 4 || !port) return undefined;
  return { address: formatIpv4(ip.readUInt32BE(0)), port: port.readUInt16BE(0) };
}

function failure(call: string, errno: number): TkadmError {
  return new TkadmError('NETWORK_COMMAND', `Cannot use connection tracking: ${call} failed, errno ${errno}`);
}
