import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { NODES } from '../../api/kinds.ts';
import { type Cidr, cidrSize, cidrsOverlap, formatCidr, nthSubnet, parseCidr } from '../../base/cidr.ts';
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

/** All nodes share one key: allocation is a matter of all of them together. */
const KEY = 'nodes';

/** Gives each Node a podCIDR of its own out of the cluster's. */
export function createNodeIpamController(settings: NodeIpamSettings): Controller {
  const pools = settings.clusterCidrs.map(readCidr);
  const reserved = settings.serviceCidrs.map(readCidr);
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
  const used = [...reserved, ...nodes.flatMap((node) => podCidrsOf(node).map(readCidr))];
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
export function findFreeCidr(pool: Cidr, prefixLength: number, used: readonly Cidr[]): Cidr | undefined {
  const size = cidrSize({ ...pool, prefixLength });
  for (let index = 0n; ; ) {
    const candidate = nthSubnet(pool, prefixLength, index);
    const hindrance = candidate && used.find((entry) => cidrsOverlap(entry, candidate));
    if (!hindrance) return candidate;
    const past = hindrance.address + cidrSize(hindrance) - pool.address;
    const next = (past + size - 1n) / size;
    index = next > index ? next : index + 1n;
  }
}

/** @throws FLAG_INVALID */
function readCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr) return cidr;
  throw new TkadmError('FLAG_INVALID', `Cannot use CIDR "${text}": write it like "10.244.0.0/16"`);
}
