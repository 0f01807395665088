import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { NODES } from '../../api/kinds.ts';
import { TkadmError } from '../../base/errors.ts';
import { event, mergePatch } from '../component/action.ts';
import type { View } from '../component/view.ts';
import { type Controller, type ReconcileResult, SETTLED, watch } from './controller.ts';

export interface NodeIpamSettings {
  /** "10.244.0.0/16"; one for each IP family. */
  readonly clusterCidrs: readonly string[];
  readonly maskSizeIpv4: number;
  readonly maskSizeIpv6: number;
  /** Kept free when they overlap. */
  readonly serviceCidrs: readonly string[];
}

/** A block of addresses: the first as a number, and the length of its prefix. */
export interface Cidr {
  readonly family: 4 | 6;
  readonly base: bigint;
  readonly prefix: number;
}

/** All nodes share one key: allocation is a matter of all of them together. */
const KEY = 'nodes';

/** Gives each Node a podCIDR of its own out of the cluster's. */
export function createNodeIpamController(settings: NodeIpamSettings): Controller {
  const pools = settings.clusterCidrs.map(parseCidr);
  const reserved = settings.serviceCidrs.map(parseCidr);
  return {
    name: 'node-ipam-controller',
    watches: [
      watch(NODES, (change) => (change.type === 'DELETED' || !change.object.spec?.podCIDR ? [KEY] : [])),
    ],
    workers: 1,
    reconcile: (_, { view }) => reconcileCidrs(settings, pools, reserved, view),
  };
}

function reconcileCidrs(
  settings: NodeIpamSettings,
  pools: readonly Cidr[],
  reserved: readonly Cidr[],
  view: View,
): ReconcileResult {
  const nodes = view.list(NODES);
  const waiting = nodes.filter((node) => !node.spec?.podCIDR && !node.metadata?.deletionTimestamp);
  if (waiting.length === 0) return SETTLED;
  const used = [...reserved, ...nodes.flatMap((node) => podCidrsOf(node).map(parseCidr))];
  const actions = waiting.map((node) => {
    const cidrs = pools.map((pool) => {
      const size = pool.family === 4 ? settings.maskSizeIpv4 : settings.maskSizeIpv6;
      const free = findFreeCidr(pool, size, used);
      if (free) used.push(free);
      return free && formatCidr(free);
    });
    if (cidrs.includes(undefined)) {
      const message = 'Node status is now: CIDRNotAvailable';
      return event(NODES, node, 'Normal', 'CIDRNotAvailable', `Node ${node.metadata?.name} ${message}`);
    }
    return mergePatch(NODES, node, { spec: { podCIDR: cidrs[0], podCIDRs: cidrs } });
  });
  return { actions };
}

function podCidrsOf({ spec }: Node): readonly string[] {
  return spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []);
}

/** The first block of this prefix length in the pool that overlaps none of `used`. */
export function findFreeCidr(pool: Cidr, prefix: number, used: readonly Cidr[]): Cidr | undefined {
  const step = sizeOf({ ...pool, prefix });
  const end = pool.base + sizeOf(pool);
  const taken = used.filter((entry) => entry.family === pool.family);
  for (let base = pool.base; base < end; ) {
    const candidate: Cidr = { family: pool.family, base, prefix };
    const hindrance = taken.find((entry) => overlaps(entry, candidate));
    if (!hindrance) return candidate;
    const past = hindrance.base + sizeOf(hindrance);
    const jump = ((past - pool.base + step - 1n) / step) * step + pool.base;
    base = jump > base ? jump : base + step;
  }
  return undefined;
}

/** Parses "10.244.0.0/16" or "fd00::/48". @throws FLAG_INVALID */
export function parseCidr(text: string): Cidr {
  const [address = '', length = ''] = text.split('/');
  const family = address.includes(':') ? 6 : 4;
  const value = family === 4 ? parseIpv4(address) : parseIpv6(address);
  const prefix = Number(length);
  if (value === undefined || !/^\d+$/.test(length) || prefix > (family === 4 ? 32 : 128)) {
    throw new TkadmError('FLAG_INVALID', `Cannot use CIDR "${text}": write it like "10.244.0.0/16"`);
  }
  const size = sizeOf({ family, base: 0n, prefix });
  return { family, base: (value / size) * size, prefix };
}

/** "10.244.1.0/24" */
export function formatCidr({ family, base, prefix }: Cidr): string {
  if (family === 4) {
    const bytes = [24n, 16n, 8n, 0n].map((shift) => (base >> shift) & 255n);
    return `${bytes.join('.')}/${prefix}`;
  }
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((base >> BigInt(112 - index * 16)) & 0xffffn).toString(16),
  );
  const address = new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
  return `${address}/${prefix}`;
}

function sizeOf({ family, prefix }: Cidr): bigint {
  return 1n << BigInt((family === 4 ? 32 : 128) - prefix);
}

function overlaps(a: Cidr, b: Cidr): boolean {
  return a.base < b.base + sizeOf(b) && b.base < a.base + sizeOf(a);
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255))
    return undefined;
  return parts.reduce((value, part) => value * 256n + BigInt(part), 0n);
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::');
  const groupsOf = (half: string | undefined) => (half ? half.split(':') : []);
  const head = groupsOf(halves[0]);
  const tail = groupsOf(halves[1]);
  const missing = 8 - head.length - tail.length;
  const isValid = halves.length === 2 ? missing >= 1 : halves.length === 1 && missing === 0;
  const groups = [...head, ...Array<string>(Math.max(0, missing)).fill('0'), ...tail];
  if (!isValid || groups.some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return groups.reduce((value, group) => value * 65_536n + BigInt(`0x${group}`), 0n);
}
