import { parseIp } from '../../runtime/base/cidr.ts';
import type { Checker } from './problems.ts';
import { checkAbsolutePath, checkArgs, checkOneOf, checkPort, checkSubdomain, checkTaints } from './rules.ts';
import type { LocalApiEndpoint, NodeRegistration, Timeouts } from './types.ts';

const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'];
const CERTIFICATE_KEY_PATTERN = /^[0-9a-fA-F]{64}$/;

/** Checks what a node registers with. */
export function validateNode(node: NodeRegistration, check: Checker): void {
  const path = 'nodeRegistration';
  checkSubdomain(check, `${path}.name`, node.name);
  validateSocket(node.criSocket, `${path}.criSocket`, check);
  checkTaints(check, `${path}.taints`, node.taints);
  checkArgs(check, `${path}.kubeletExtraArgs`, node.kubeletExtraArgs);
  validatePullPolicy(node.imagePullPolicy, `${path}.imagePullPolicy`, check);
  validateIgnored(node.ignorePreflightErrors, `${path}.ignorePreflightErrors`, check);
}

export function validatePullPolicy(policy: string, path: string, check: Checker): void {
  checkOneOf(check, path, policy, PULL_POLICIES);
}

export function validateSocket(socket: string, path: string, check: Checker): void {
  if (!/^unix:\/\/\/.+/.test(socket)) {
    check.invalid(path, socket, 'write it like "unix:///run/tkadm/runtime.sock"');
  }
}

export function validateIgnored(names: readonly string[], path: string, check: Checker): void {
  const hasAll = names.some((name) => name.toLowerCase() === 'all');
  if (hasAll && names.length > 1) check.invalid(path, names, '"all" must stand alone');
}

export function validateLocalEndpoint(endpoint: LocalApiEndpoint, path: string, check: Checker): void {
  checkPort(check, `${path}.bindPort`, endpoint.bindPort);
  const field = `${path}.advertiseAddress`;
  const ip = parseIp(endpoint.advertiseAddress);
  if (!ip) {
    check.invalid(
      field,
      endpoint.advertiseAddress,
      'it is no IP address; --apiserver-advertise-address sets it',
    );
  } else if (ip.value === 0n) {
    check.invalid(field, endpoint.advertiseAddress, 'nodes cannot reach the unspecified address');
  } else if (ip.family === 4 ? ip.value >> 28n === 14n : ip.value >> 120n === 255n) {
    check.invalid(field, endpoint.advertiseAddress, 'it is a multicast address');
  } else if (ip.family === 4 ? ip.value >> 24n === 127n : ip.value === 1n) {
    check.warn(field, `"${endpoint.advertiseAddress}" is reached from this machine alone`);
  }
}

/** Never shows the key: it is a secret. */
export function validateCertificateKey(key: string | undefined, path: string, check: Checker): void {
  if (key === undefined || CERTIFICATE_KEY_PATTERN.test(key)) return;
  check.invalid(path, undefined, 'it must be 32 bytes in hexadecimal: 64 digits', 'openssl rand -hex 32');
}

export function validatePatches(directory: string | undefined, check: Checker, path = 'patches'): void {
  if (directory !== undefined) checkAbsolutePath(check, `${path}.directory`, directory);
}

export function validateTimeouts(timeouts: Timeouts, check: Checker): void {
  for (const [name, ms] of Object.entries(timeouts) as [string, number][]) {
    if (ms < 0)
      check.invalid(`timeouts.${name.replace(/Ms$/, '')}`, `${ms / 1000}s`, 'it must be more than 0');
  }
}
