import {
  ADDRESS_BITS,
  type Cidr,
  cidrSize,
  cidrsOverlap,
  formatCidr,
  parseCidr,
  parseIp,
} from '../../runtime/base/cidr.ts';
import type { Checker } from './problems.ts';
import { checkSubdomain } from './rules.ts';
import type { ClusterConfiguration } from './types.ts';

const MIN_SERVICE_ADDRESSES = 10n;
const MIN_POD_ADDRESSES = 14n;
const MIN_SERVICE_PREFIX = { 4: 12, 6: 108 } as const;
const DEFAULT_NODE_PREFIX = { 4: 24, 6: 64 } as const;
/** A node's range may be at most this many bits longer than the pods'. */
const MAX_NODE_BITS = 16;

/** Checks the cluster's addresses: form, size, families and that pods and Services share none. */
export function validateNetworking(cluster: ClusterConfiguration, check: Checker): void {
  const { serviceSubnet, podSubnet, dnsDomain } = cluster.networking;
  checkSubdomain(check, 'networking.dnsDomain', dnsDomain);
  const services = checkSubnets(check, 'networking.serviceSubnet', serviceSubnet, '10.96.0.0/12');
  for (const cidr of services) checkServiceSubnet(check, serviceSubnet, cidr);
  if (podSubnet === undefined) return;
  const pods = checkSubnets(check, 'networking.podSubnet', podSubnet, '10.244.0.0/16');
  if (!isNodeCidrAllocationOff(cluster)) for (const cidr of pods) checkPodSubnet(check, cluster, cidr);
  checkTogether(check, { podSubnet, serviceSubnet, pods, services });
}

function checkSubnets(check: Checker, path: string, text: string, example: string): readonly Cidr[] {
  const parts = text.split(',');
  const cidrs: Cidr[] = [];
  for (const part of parts) {
    const cidr = parseCidr(part.trim());
    if (cidr) {
      cidrs.push(cidr);
      warnOfHostBits(check, path, part.trim(), cidr);
    } else {
      const which = parts.length === 1 ? 'it' : `"${part.trim()}"`;
      check.invalid(path, text, `${which} is no CIDR; write it like "${example}"`);
    }
  }
  if (parts.length > 2) check.invalid(path, text, 'at most one range of each IP family is allowed');
  else if (cidrs.length === 2 && cidrs[0]!.family === cidrs[1]!.family) {
    check.invalid(path, text, 'two ranges must be of different IP families');
  }
  return cidrs;
}

/** "10.244.0.7/16" is read as "10.244.0.0/16". */
function warnOfHostBits(check: Checker, path: string, text: string, cidr: Cidr): void {
  if (parseIp(text.split('/')[0]!)!.value === cidr.address) return;
  check.warn(path, `"${text}" names an address within its range: ${formatCidr(cidr)} is used`);
}

function checkServiceSubnet(check: Checker, text: string, cidr: Cidr): void {
  const path = 'networking.serviceSubnet';
  if (cidrSize(cidr) < MIN_SERVICE_ADDRESSES) {
    check.invalid(path, text, `it must have at least ${MIN_SERVICE_ADDRESSES} addresses; DNS gets the tenth`);
  } else if (cidr.prefixLength < MIN_SERVICE_PREFIX[cidr.family]) {
    check.invalid(path, text, `its prefix must be /${MIN_SERVICE_PREFIX[cidr.family]} or longer`);
  }
}

function checkPodSubnet(check: Checker, cluster: ClusterConfiguration, cidr: Cidr): void {
  const path = 'networking.podSubnet';
  const text = cluster.networking.podSubnet;
  const nodePrefix = nodePrefixLength(cluster, cidr.family);
  if (!Number.isInteger(nodePrefix) || nodePrefix < 1 || nodePrefix > ADDRESS_BITS[cidr.family]) {
    check.invalid(
      'controllerManager.extraArgs',
      nodePrefix,
      `a node's range of IPv${cidr.family} has a prefix from 1 to ${ADDRESS_BITS[cidr.family]}`,
    );
    return;
  }
  if (cidrSize(cidr) < MIN_POD_ADDRESSES) {
    check.invalid(path, text, `it must have at least ${MIN_POD_ADDRESSES} addresses`);
  } else if (cidr.prefixLength > nodePrefix) {
    check.invalid(path, text, `it is smaller than one node's range, a /${nodePrefix}`);
  } else if (nodePrefix - cidr.prefixLength > MAX_NODE_BITS) {
    check.invalid(
      path,
      text,
      `a node's range of /${nodePrefix} is more than ${MAX_NODE_BITS} bits longer than /${cidr.prefixLength}`,
    );
  }
}

/** Prefix length of a node's range: the controller manager's arguments, or the default. */
function nodePrefixLength(cluster: ClusterConfiguration, family: 4 | 6): number {
  const argument = (name: string) =>
    cluster.controllerManager.extraArgs.findLast((arg) => arg.name === name)?.value;
  const isDual = (cluster.networking.podSubnet ?? '').includes(',');
  const text =
    argument(`node-cidr-mask-size-ipv${family}`) ?? (isDual ? undefined : argument('node-cidr-mask-size'));
  return text === undefined ? DEFAULT_NODE_PREFIX[family] : Number(text);
}

function isNodeCidrAllocationOff(cluster: ClusterConfiguration): boolean {
  return cluster.controllerManager.extraArgs.some(
    ({ name, value }) => name === 'allocate-node-cidrs' && value === 'false',
  );
}

interface Subnets {
  readonly podSubnet: string;
  readonly serviceSubnet: string;
  readonly pods: readonly Cidr[];
  readonly services: readonly Cidr[];
}

function checkTogether(check: Checker, { podSubnet, serviceSubnet, pods, services }: Subnets): void {
  for (const pod of pods) {
    const service = services.find((candidate) => cidrsOverlap(candidate, pod));
    if (!service) continue;
    const isPlain = pods.length === 1 && services.length === 1;
    const which = isPlain ? '' : ` (${formatCidr(pod)} and ${formatCidr(service)})`;
    check.invalid(
      'networking.podSubnet',
      podSubnet,
      `it overlaps networking.serviceSubnet "${serviceSubnet}"${which}`,
    );
  }
  const families = (cidrs: readonly Cidr[]) => [...new Set(cidrs.map((cidr) => cidr.family))];
  const lacking = families(services).filter((family) => !families(pods).includes(family));
  if (pods.length > 0 && lacking.length > 0) {
    check.invalid(
      'networking.podSubnet',
      podSubnet,
      `it has no IPv${lacking[0]} range, but networking.serviceSubnet "${serviceSubnet}" has`,
    );
  }
}
