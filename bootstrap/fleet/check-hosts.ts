import { parseIp } from '../../runtime/base/cidr.ts';
import { findSimilar } from '../../runtime/base/similar.ts';
import type { RawObject } from '../config/documents.ts';
import { lineOf, type Places, toPointer } from '../config/places.ts';
import { type Checker, createChecker, type FieldProblem } from '../config/problems.ts';
import { checkPort, checkSubdomain, checkTaints } from '../config/rules.ts';
import type { InitConfig } from '../config/types.ts';
import type { ClusterFields, Fleet, HostGroup, HostSsh, WrittenHost } from './cluster-file.ts';

const LABEL_NAME = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$/;
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}=?$/;

export interface HostsToCheck {
  readonly fields: ClusterFields;
  readonly places: Places | undefined;
  /** What the documents beside it say; undefined when there are none. */
  readonly init: InitConfig | undefined;
}

/** What is wrong with the hosts beyond the types of their fields, each with its line. */
export function checkHosts(fleet: Fleet, { fields, places, init }: HostsToCheck): readonly FieldProblem[] {
  const checker = createChecker();
  const check = checker.of('Cluster');
  checkSubdomain(check, 'metadata.name', fields.metadata.name);
  checkSsh(check, 'spec.ssh', fields.spec.ssh);
  for (const [name, group] of Object.entries(fields.spec.groups ?? {})) {
    checkGroup(check, `spec.groups.${name}`, group);
  }
  for (const [index, host] of fields.spec.hosts.entries()) checkHost(check, index, host, fields);
  checkTwins(check, fields.spec.hosts);
  checkControlPlanes(check, fleet, init);
  checkDocuments(checker, fleet);
  return checker.problems.map((problem) => {
    const line = problem.document === 'Cluster' ? lineOf(places, toPointer(problem.path)) : undefined;
    return line === undefined ? problem : { ...problem, source: `line ${line}` };
  });
}

function checkHost(check: Checker, index: number, host: WrittenHost, { spec }: ClusterFields): void {
  const path = `spec.hosts[${index}]`;
  checkGroup(check, path, host);
  if (!/^[^\s@/]+$/.test(host.address) || host.address.startsWith('-')) {
    check.invalid(
      `${path}.address`,
      host.address,
      'write an address or a name; ssh.user and ssh.port say the rest',
    );
  }
  if (host.nodeName !== undefined) checkSubdomain(check, `${path}.nodeName`, host.nodeName);
  if (host.nodeIP !== undefined && !parseIp(host.nodeIP))
    check.invalid(`${path}.nodeIP`, host.nodeIP, 'it is no IP address');
  if (host.nodeIP !== undefined && host.interface !== undefined)
    check.forbidden(`${path}.interface`, 'nodeIP says the address already');
  const groups = Object.keys(spec.groups ?? {});
  if (host.group !== undefined && !groups.includes(host.group)) {
    const similar = findSimilar(host.group, groups);
    check.invalid(
      `${path}.group`,
      host.group,
      `spec.groups has no such group${similar ? `; is "${similar}" meant?` : ''}`,
    );
  }
  const role = host.role ?? (host.group === undefined ? undefined : spec.groups?.[host.group]?.role);
  if (role === undefined) check.required(`${path}.role`, 'write "control-plane" or "worker"');
}

function checkGroup(check: Checker, path: string, group: HostGroup): void {
  checkSsh(check, `${path}.ssh`, group.ssh);
  checkTaints(check, `${path}.taints`, group.taints ?? []);
  for (const [key, value] of Object.entries(group.labels ?? {})) {
    const name = key.split('/').at(-1) ?? '';
    if (!LABEL_NAME.test(name) || key.split('/').length > 2)
      check.invalid(`${path}.labels`, key, 'write a label like "example.com/name"');
    if (value !== '' && !LABEL_NAME.test(value))
      check.invalid(
        `${path}.labels`,
        value,
        `the value of "${key}" has letters, digits, "-", "_", "." alone`,
      );
  }
}

function checkSsh(check: Checker, path: string, ssh: HostSsh | undefined): void {
  if (ssh?.port !== undefined) checkPort(check, `${path}.port`, ssh.port);
  const { hostKeyFingerprint: fingerprint } = ssh ?? {};
  if (fingerprint !== undefined && !FINGERPRINT.test(fingerprint))
    check.invalid(`${path}.hostKeyFingerprint`, fingerprint, 'write it as ssh-keygen -l does: "SHA256:..."');
}

/** Two hosts of one address or name would be one machine. */
function checkTwins(check: Checker, hosts: readonly WrittenHost[]): void {
  for (const [index, host] of hosts.entries()) {
    const before = hosts.slice(0, index);
    const twin = before.findIndex(
      (other) => other.address === host.address && other.ssh?.port === host.ssh?.port,
    );
    if (twin >= 0)
      check.invalid(`spec.hosts[${index}].address`, host.address, `spec.hosts[${twin}] has it already`);
    const namesake = before.findIndex(({ nodeName }) => nodeName !== undefined && nodeName === host.nodeName);
    if (namesake >= 0)
      check.invalid(`spec.hosts[${index}].nodeName`, host.nodeName, `spec.hosts[${namesake}] has it already`);
  }
}

/** Further control planes share an etcd that is not the first one's own. */
function checkControlPlanes(check: Checker, { hosts }: Fleet, init: InitConfig | undefined): void {
  const controlPlanes = hosts.filter(({ role }) => role === 'control-plane');
  if (controlPlanes.length === 0) check.required('spec.hosts', 'one host needs the role "control-plane"');
  if (controlPlanes.length < 2) return;
  const missing = [
    ...(init?.cluster.etcd.external ? [] : ['etcd.external']),
    ...(init?.cluster.controlPlaneEndpoint ? [] : ['controlPlaneEndpoint']),
  ];
  if (missing.length === 0) return;
  check.forbidden(
    `spec.hosts[${hosts.indexOf(controlPlanes[1]!)}].role`,
    `a second control plane needs ${missing.join(' and ')} of a ClusterConfiguration in this file`,
  );
}

/** Fields of the documents beside it that the hosts say, each for itself. */
function checkDocuments(checker: Checker, { documents }: Fleet): void {
  for (const { kind, fields } of documents) {
    const check = checker.of(kind);
    const node = fields['nodeRegistration'] as RawObject | undefined;
    const endpoint = fields['localAPIEndpoint'] as RawObject | undefined;
    if (node?.['name'] !== undefined)
      check.forbidden('nodeRegistration.name', 'spec.hosts[].nodeName of the Cluster says it');
    if (node?.['taints'] !== undefined)
      check.forbidden('nodeRegistration.taints', 'spec.hosts[].taints of the Cluster says them');
    if (endpoint?.['advertiseAddress'] !== undefined)
      check.forbidden('localAPIEndpoint.advertiseAddress', 'spec.hosts[].nodeIP of the Cluster says it');
    if (kind !== 'JoinConfiguration') continue;
    for (const name of ['discovery', 'controlPlane'])
      if (fields[name] !== undefined) check.forbidden(name, 'apply knows it from the cluster itself');
  }
}
