import { formatIpv4 } from '../address.ts';
import { NETLINK, NetlinkError, NLM_F, openNetlink, parseAttributes } from '../netlink.ts';
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

const AF_INET = 2;
const IPPROTO_UDP = 17;
/** NFNL_SUBSYS_CTNETLINK is 1. */
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
/** nfgenmsg. */
const HEADER_BYTES = 4;

/** Opens a netlink socket. @throws NETWORK_COMMAND */
export function openConntrack(): Conntrack {
  const netfilter = openNetlink(NETLINK.netfilter);
  const forget = (flow: UdpFlow): boolean => {
    try {
      netfilter.ask({ type: CT_DELETE, body: buildBody(flow.identity), step: 'delete a tracked flow' });
      return true;
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === 'ENOENT') return false;
      throw error;
    }
  };
  return {
    listUdp() {
      const request = { type: CT_GET, flags: NLM_F.dump, body: buildBody(), step: 'list tracked flows' };
      return netfilter.ask(request).flatMap((body) => parseUdpFlow(body.subarray(HEADER_BYTES)) ?? []);
    },
    delete: (flows) => flows.filter(forget).length,
    close: () => netfilter.close(),
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

/** nfgenmsg { u8 family, u8 version, u16 id }, attributes. */
function buildBody(attributes: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from([AF_INET, 0, 0, 0]), attributes]);
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
