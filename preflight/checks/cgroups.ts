import type { Host } from '../../runtime/base/host.ts';
import {
  adviceFinding,
  errorFinding,
  type Finding,
  isUpstream,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';

const SYSTEM = 'SystemVerification';

/** Controllers that limits and freezing need. On cgroup v2 "devices" and "freezer" are part of the core. */
const NEEDED = {
  1: ['cpu', 'cpuset', 'devices', 'freezer', 'memory', 'pids'],
  2: ['cpu', 'cpuset', 'memory', 'pids'],
};
/** Without these, limits of huge pages or of disk I/O have no effect. */
const WANTED = { 1: [], 2: ['hugetlb', 'io'] };

/** Which cgroups the machine has. The embedded runtime manages v1 too, which Kubernetes is leaving. */
export async function observeCgroups(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const unified = await host.readFile('/sys/fs/cgroup/cgroup.controllers');
  if (unified !== undefined) return reportControllers(unified.trim().split(/\s+/), 2);
  const mounts = (await host.readFile('/proc/self/mountinfo')) ?? '';
  const mounted = [...mounts.matchAll(/ - cgroup \S+ (\S+)$/gm)].flatMap((match) => match[1]!.split(','));
  if (mounted.length === 0) {
    const fix = 'mount -t cgroup2 none /sys/fs/cgroup';
    return [errorFinding(SYSTEM, 'no cgroup hierarchy is mounted', '/proc/self/mountinfo has none', fix)];
  }
  const evidence = '/proc/self/mountinfo has cgroup v1, /sys/fs/cgroup/cgroup.controllers is not there';
  const fix = 'boot with systemd.unified_cgroup_hierarchy=1';
  if (isUpstream(input))
    return [errorFinding(SYSTEM, 'kubelet 1.35 and later needs cgroup v2', evidence, fix)];
  return [
    adviceFinding(
      input,
      warningFinding(
        SYSTEM,
        'cgroup v1 works with the embedded runtime, and a kubelet of 1.35 or later refuses it',
        evidence,
        fix,
      ),
    ),
    ...reportControllers(mounted, 1),
  ];
}

function reportControllers(found: readonly string[], version: 1 | 2): readonly Finding[] {
  const evidence = `cgroup v${version} has ${found.filter((name) => name !== 'rw').join(', ')}`;
  const missing = NEEDED[version].filter((name) => !found.includes(name));
  const unwanted = WANTED[version].filter((name) => !found.includes(name));
  return [
    ...(missing.length === 0
      ? []
      : [
          errorFinding(
            SYSTEM,
            `cgroup controllers are missing: ${missing.join(', ')}`,
            evidence,
            'boot with cgroup_enable=memory and without cgroup_disable',
          ),
        ]),
    ...(unwanted.length === 0
      ? []
      : [warningFinding(SYSTEM, `cgroup controllers are missing: ${unwanted.join(', ')}`, evidence)]),
  ];
}
