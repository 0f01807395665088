import { parseIp } from '../../runtime/base/cidr.ts';
import { parseEndpoint } from './network.ts';
import type { Checker } from './problems.ts';
import type { ControlPlaneComponent, EnvVar, HostPathMount, NameValue, Taint } from './types.ts';

/** A label of a DNS name (RFC 1123 §2.1). */
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const QUALIFIED_NAME = /^([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$/;

/** What is wrong with a DNS-1123 subdomain, the form of object and host names; undefined when nothing is. */
function describeBadSubdomain(text: string): string | undefined {
  if (text === '') return 'it is empty';
  if (text.length > 253) return `it has ${text.length} characters, at most 253 are allowed`;
  const labels = text.split('.');
  const bad = labels.findIndex((label) => !DNS_LABEL.test(label));
  if (bad < 0) return undefined;
  return (
    `${labels.length === 1 ? 'it' : `its part ${bad + 1}`} is no DNS-1123 label: lower-case letters, digits and "-", ` +
    'beginning and ending with a letter or digit, at most 63 characters'
  );
}

export function checkSubdomain(check: Checker, path: string, text: string): void {
  const state = describeBadSubdomain(text);
  if (state) check.invalid(path, text, state);
}

export function checkPort(check: Checker, path: string, port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    check.invalid(path, port, 'a port is a whole number from 1 to 65535');
  }
}

export function checkAbsolutePath(check: Checker, path: string, text: string): void {
  if (!text.startsWith('/')) check.invalid(path, text, 'it must be an absolute path');
}

/** host[:port] with a DNS name or an address, no URL. */
export function checkEndpoint(check: Checker, path: string, text: string, needsPort = false): void {
  if (/^[a-z]+:\/\//i.test(text)) {
    check.invalid(path, text, 'it is a URL; write host or host:port');
    return;
  }
  const endpoint = parseEndpoint(text);
  if (!endpoint) {
    check.invalid(path, text, 'write it like "host", "host:6443" or "[fd00::1]:6443"');
    return;
  }
  if (endpoint.port === undefined && needsPort)
    check.invalid(path, text, 'the port is missing; write host:port');
  if (endpoint.port !== undefined && (endpoint.port < 1 || endpoint.port > 65535)) {
    check.invalid(path, text, 'its port is not from 1 to 65535');
  }
  if (parseIp(endpoint.host)) return;
  if (/^[\d.]+$/.test(endpoint.host)) check.invalid(path, text, 'its host is no IPv4 address');
  else if (describeBadSubdomain(endpoint.host.toLowerCase())) {
    check.invalid(path, text, `its host: ${describeBadSubdomain(endpoint.host.toLowerCase())}`);
  }
}

/** Names in a certificate: DNS names, wildcards and addresses. */
export function checkCertSans(check: Checker, path: string, names: readonly string[]): void {
  for (const [i, name] of names.entries()) {
    if (parseIp(name)) continue;
    const host = name.toLowerCase().replace(/^\*\./, '');
    if (describeBadSubdomain(host)) {
      check.invalid(
        `${path}[${i}]`,
        name,
        'it is neither an IP address nor a DNS name nor a wildcard "*.name"',
      );
    }
  }
}

/** Arguments of a program: names without dashes in front. */
export function checkArgs(check: Checker, path: string, args: readonly NameValue[]): void {
  for (const [i, { name }] of args.entries()) {
    if (name === '') check.required(`${path}[${i}].name`, 'an argument needs a name');
    else if (name.startsWith('-')) {
      check.invalid(`${path}[${i}].name`, name, `leave the dashes out: "${name.replace(/^-+/, '')}"`);
    } else if (/[\s=]/.test(name)) check.invalid(`${path}[${i}].name`, name, 'it holds a space or "="');
  }
}

export function checkTaints(check: Checker, path: string, taints: readonly Taint[]): void {
  for (const [i, taint] of taints.entries()) {
    const [prefix, name] = taint.key.includes('/') ? taint.key.split('/', 2) : [undefined, taint.key];
    const isKey = QUALIFIED_NAME.test(name!) && (prefix === undefined || !describeBadSubdomain(prefix));
    if (!isKey) check.invalid(`${path}[${i}].key`, taint.key, 'write it like "example.com/name"');
    const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
    if (!effects.includes(taint.effect)) check.unsupported(`${path}[${i}].effect`, taint.effect, effects);
    const isSame = (other: Taint) => other.key === taint.key && other.effect === taint.effect;
    if (taints.findIndex(isSame) < i) check.invalid(`${path}[${i}]`, taint, 'it occurs twice');
    if (taint.value && !QUALIFIED_NAME.test(taint.value)) {
      check.invalid(`${path}[${i}].value`, taint.value, 'letters, digits, "-", "_" and "." alone');
    }
  }
}

function checkVolumes(check: Checker, path: string, volumes: readonly HostPathMount[]): void {
  for (const [i, volume] of volumes.entries()) {
    if (!DNS_LABEL.test(volume.name ?? '')) {
      check.invalid(`${path}[${i}].name`, volume.name ?? '', 'it is no DNS-1123 label');
    }
    checkAbsolutePath(check, `${path}[${i}].hostPath`, volume.hostPath ?? '');
    checkAbsolutePath(check, `${path}[${i}].mountPath`, volume.mountPath ?? '');
    const types = [
      ...[
        '',
        'DirectoryOrCreate',
        'Directory',
        'FileOrCreate',
        'File',
        'Socket',
        'CharDevice',
        'BlockDevice',
      ],
    ];
    if (!types.includes(volume.pathType ?? '')) {
      check.unsupported(`${path}[${i}].pathType`, volume.pathType, types.slice(1));
    }
  }
}

export function checkEnvs(check: Checker, path: string, envs: readonly EnvVar[]): void {
  for (const [i, env] of envs.entries()) {
    if (env.name === '' || env.name.includes('=')) {
      check.invalid(`${path}[${i}].name`, env.name, 'a variable needs a name without "="');
    }
  }
}

export function checkComponent(check: Checker, path: string, component: ControlPlaneComponent): void {
  checkArgs(check, `${path}.extraArgs`, component.extraArgs);
  checkVolumes(check, `${path}.extraVolumes`, component.extraVolumes);
  checkEnvs(check, `${path}.extraEnvs`, component.extraEnvs);
}

/** An image repository: host[:port] and lower-case path segments, without tag or digest. */
export function checkRepository(check: Checker, path: string, text: string): void {
  const isRepository =
    /^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:\d+)?(\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/.test(text);
  if (!isRepository)
    check.invalid(path, text, 'write it like "registry.example.com:5000/path", without a tag');
}

export function checkOneOf(check: Checker, path: string, text: string, supported: readonly string[]): void {
  if (!supported.includes(text)) check.unsupported(path, text, supported);
}

/** An image's tag (distribution-spec, "Pulling manifests"). */
export function checkImageTag(check: Checker, path: string, text: string): void {
  if (!/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/.test(text)) {
    check.invalid(path, text, 'letters, digits, "_", "." and "-" alone, at most 128');
  }
}
