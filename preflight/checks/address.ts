import { cidrContains, cidrsOverlap, parseCidr, parseIp } from '../../runtime/base/cidr.ts';
import type { Host } from '../../runtime/base/host.ts';
import {
  type Check,
  clusterCidrs,
  errorFinding,
  type Finding,
  JOINS,
  NODES,
  noteFinding,
  type Observation,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import {
  type InterfaceAddress,
  parseInterfaceAddresses,
  parseNameServers,
  parseRoutes,
} from '../parse-network.ts';

const ADDRESS = 'AdvertiseAddress';

/** The node's own address and the cluster's ranges, against what the machine's network is. */
export const ADDRESS_CHECKS: readonly Check[] = [
  {
    name: ADDRESS,
    scopes: NODES,
    severity: 'error',
    looksAt:
      'the address under which the node will be known: an interface has it, no bridge or tunnel, and which others it might have been',
    observe: observeAdvertiseAddress,
  },
  {
    name: 'CIDROverlap',
    scopes: NODES,
    severity: 'error',
    looksAt:
      "pod and Service ranges against each other, and against this machine's address, routes and name servers",
    observe: observeOverlaps,
  },
  {
    name: 'CIDRFamily',
    scopes: NODES,
    severity: 'error',
    looksAt:
      "every IP family of the Service ranges has a pod range; the node's address has the first one's family",
    observe: observeFamilies,
  },
];

async function observeAdvertiseAddress(host: Host, input: PreflightInput): Promise<Observation> {
  const { advertiseAddress } = input;
  if (advertiseAddress === undefined) return undefined;
  const { stdout } = await host.run(['ip', '-d', '-j', 'addr', 'show']);
  const addresses = parseInterfaceAddresses(stdout);
  if (addresses.length === 0) return [];
  const chosen = addresses.find((row) => row.address === advertiseAddress);
  const family = parseIp(advertiseAddress)?.family;
  const candidates = addresses.filter(
    (row) => row.isGlobal && row !== chosen && parseIp(row.address)?.family === family,
  );
  // A second address of the same card is usually one that moves between machines.
  const real = candidates.filter((row) => !row.isVirtual && row.device !== chosen?.device);
  if (!chosen) return [reportMissing(input, candidates)];
  const others = candidates.map(formatAddress).join(', ');
  const evidence = `chosen: ${formatAddress(chosen)}; others: ${others === '' ? 'none' : others}`;
  if (chosen.isVirtual || !chosen.isGlobal) {
    const reason = `the address "${advertiseAddress}" of "${chosen.device}" is not reached by other machines`;
    return [warningFinding(ADDRESS, reason, evidence, flagFor(input, real[0]))];
  }
  if (input.nodeIp !== undefined && input.nodeIp !== advertiseAddress) {
    const reason = `the node agent would use ${input.nodeIp}, and the API server ${advertiseAddress}`;
    return [
      warningFinding(ADDRESS, reason, `kubeletExtraArgs has node-ip; ${evidence}`, 'give both one address'),
    ];
  }
  const wrongSource = await reportOtherSource(host, input, evidence);
  if (wrongSource) return [wrongSource];
  if (real.length === 0 || input.isAddressGiven || input.nodeIp !== undefined)
    return [noteFinding(ADDRESS, `this node will be known as ${advertiseAddress}`, evidence)];
  return [
    warningFinding(
      ADDRESS,
      `this machine has several addresses, and ${advertiseAddress} of "${chosen.device}" was chosen`,
      evidence,
      `if another is right: ${flagFor(input, real[0])}`,
    ),
  ];
}

function reportMissing(input: PreflightInput, candidates: readonly InterfaceAddress[]): Finding {
  const names = candidates.map(formatAddress);
  return errorFinding(
    ADDRESS,
    `no interface has the address "${input.advertiseAddress}"`,
    names.length > 0
      ? `this machine has ${names.join(', ')}`
      : 'this machine has no other address of its family',
    flagFor(input, candidates.find((row) => !row.isVirtual) ?? candidates[0]),
  );
}

/** A node that joins should be known by the address with which it speaks to the API server. */
async function reportOtherSource(
  host: Host,
  input: PreflightInput,
  evidence: string,
): Promise<Finding | undefined> {
  const target = /^\[?(.*?)\]?:\d+$/.exec(input.apiServer ?? '')?.[1];
  if (!JOINS.includes(input.scope) || target === undefined || !parseIp(target)) return undefined;
  const { stdout } = await host.run(['ip', '-o', 'route', 'get', target]);
  const source = /\bsrc (\S+)/.exec(stdout)?.[1];
  if (source === undefined || source === input.advertiseAddress) return undefined;
  return warningFinding(
    ADDRESS,
    `this node will be known as ${input.advertiseAddress}, and speaks to the API server as ${source}`,
    `ip route get ${target} says src ${source}; ${evidence}`,
    'kubeletExtraArgs with node-ip in the JoinConfiguration, or mend the routes',
  );
}

function formatAddress({ address, device, isVirtual }: InterfaceAddress): string {
  return `${address} (${device}${isVirtual ? ', virtual' : ''})`;
}

function flagFor({ scope }: PreflightInput, other: InterfaceAddress | undefined): string {
  const address = other?.address ?? 'ADDRESS';
  return scope === 'join'
    ? `nodeRegistration.kubeletExtraArgs: [{name: node-ip, value: "${address}"}]`
    : `tkadm ${scope === 'init' ? 'init' : 'join'} --apiserver-advertise-address ${address}`;
}

/** A node that joins learns the ranges later. */
async function observeOverlaps(host: Host, input: PreflightInput): Promise<Observation> {
  const cidrs = clusterCidrs(input);
  if (cidrs.length === 0) return undefined;
  const families = ['-4', ...(cidrs.some((cidr) => cidr.includes(':')) ? ['-6'] : [])];
  const [resolvConf = '', routes] = await Promise.all([
    host.readFile('/etc/resolv.conf'),
    Promise.all(families.map((flag) => host.run(['ip', '-j', flag, 'route', 'show']))),
  ]);
  const networks = routes.flatMap(({ stdout }) => parseRoutes(stdout));
  return [
    ...overlapsOfRanges(input),
    ...cidrs
      .filter((cidr) => overlaps(cidr, input.advertiseAddress))
      .map((cidr) => ownAddressIn(cidr, input)),
    ...cidrs.flatMap((cidr) =>
      networks
        .filter((route) => overlaps(cidr, route.destination))
        .map((route) => used(cidr, `ip route shows ${route.destination} dev ${route.device}`)),
    ),
    ...cidrs.flatMap((cidr) =>
      parseNameServers(resolvConf)
        .filter((server) => overlaps(cidr, server))
        .map((server) => used(cidr, `/etc/resolv.conf names the server ${server}`)),
    ),
  ];
}

function overlapsOfRanges({ podCidrs, serviceCidrs }: PreflightInput): readonly Finding[] {
  return podCidrs.flatMap((pod) =>
    serviceCidrs
      .filter((service) => overlaps(pod, service))
      .map((service) =>
        errorFinding(
          'CIDROverlap',
          'pods and Services would have the same addresses',
          `the pod range ${pod} and the Service range ${service} overlap`,
          'choose another --pod-network-cidr or --service-cidr',
        ),
      ),
  );
}

function ownAddressIn(cidr: string, { advertiseAddress }: PreflightInput): Finding {
  return errorFinding(
    'CIDROverlap',
    `the range ${cidr} of the cluster holds this machine's own address`,
    `the node's address is ${advertiseAddress}`,
    'choose another --pod-network-cidr or --service-cidr',
  );
}

function used(cidr: string, evidence: string): Finding {
  return warningFinding(
    'CIDROverlap',
    `the range ${cidr} is used by this machine's network`,
    evidence,
    'choose another --pod-network-cidr or --service-cidr',
  );
}

async function observeFamilies(_host: Host, input: PreflightInput): Promise<Observation> {
  if (clusterCidrs(input).length === 0) return undefined;
  const familiesOf = (cidrs: readonly string[]) => [...new Set(cidrs.map((text) => parseCidr(text)?.family))];
  const pods = familiesOf(input.podCidrs);
  const services = familiesOf(input.serviceCidrs);
  const own = parseIp(input.advertiseAddress ?? '')?.family;
  const evidence = `pods: ${input.podCidrs.join(', ')}; Services: ${input.serviceCidrs.join(', ')}`;
  const lacking = pods.length === 0 ? [] : services.filter((family) => !pods.includes(family));
  return [
    ...lacking.map((family) =>
      errorFinding(
        'CIDRFamily',
        `Services have IPv${family} addresses, and pods have none`,
        evidence,
        'give --pod-network-cidr a range of each family of --service-cidr',
      ),
    ),
    ...(own !== undefined && services.length > 0 && !services.includes(own)
      ? [
          warningFinding(
            'CIDRFamily',
            `the node's address is IPv${own}, and no Service has such a one`,
            `${evidence}; address: ${input.advertiseAddress}`,
            'choose an address or a --service-cidr of the same family',
          ),
        ]
      : []),
  ];
}

/** True when a range holds an address or shares one with another range. */
function overlaps(cidr: string, other: string | undefined): boolean {
  const first = parseCidr(cidr);
  const ip = parseIp(other ?? '');
  if (first && ip) return cidrContains(first, ip);
  const second = parseCidr(other ?? '');
  return first !== undefined && second !== undefined && cidrsOverlap(first, second);
}
