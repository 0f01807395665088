import { findSimilar } from '../runtime/base/similar.ts';
import { CHECKS } from './checks.ts';
import { type Finding, warningFinding } from './finding.ts';

const IGNORED = 'IgnorePreflightErrors';

/** Names that scripts for kubeadm give and that no longer have anything to ignore. */
const FORMER = ['RequiredIPVSKernelModulesAvailable', 'Service-docker'];

/** Usual names of rows whose findings say what they are about, for suggestions. */
const USUAL = [
  'Port-6443',
  'Port-10250',
  'Port-10257',
  'Port-10259',
  'Port-2379',
  'Port-2380',
  'FileExisting-losetup',
  'FileExisting-mount',
  'FileExisting-cp',
  'FileContent--proc-sys-net-ipv4-ip_forward',
  'FileContent--proc-sys-net-ipv6-conf-default-forwarding',
  'DirAvailable--var-lib-etcd',
];

/** True when a check's findings may have this name; letter case does not matter. */
export function isCheckName(name: string): boolean {
  const lower = name.toLowerCase();
  return (
    lower === 'all' ||
    FORMER.some((former) => former.toLowerCase() === lower) ||
    CHECKS.some((row) => lower === row.name.toLowerCase() || lower.startsWith(`${row.name.toLowerCase()}-`))
  );
}

/** A warning for each name to be ignored that no check has, with the name that was likely meant. */
export function reportUnknownNames(ignored: readonly string[]): readonly Finding[] {
  const names = [...CHECKS.map((row) => row.name), ...USUAL];
  return ignored
    .filter((name) => !isCheckName(name))
    .map((name) => {
      const similarLower = findSimilar(
        name.toLowerCase(),
        names.map((known) => known.toLowerCase()),
      );
      const similar = names.find((known) => known.toLowerCase() === similarLower);
      return warningFinding(
        IGNORED,
        `no check has the name "${name}", so nothing is ignored by it`,
        similar ? `the nearest name is "${similar}"` : 'the names of all checks: tkadm preflight --list',
        similar ? `--ignore-preflight-errors=${similar}` : undefined,
      );
    });
}

/** True when errors of a finding with this name are to be ignored. */
export function isIgnoredName(check: string, ignored: readonly string[]): boolean {
  const names = ignored.map((name) => name.toLowerCase());
  return names.includes('all') || names.includes(check.toLowerCase());
}
