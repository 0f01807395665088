import { CAPABILITIES } from './capabilities.ts';
import { HOOKS } from './hooks.ts';
import { hasAppArmor, hasSelinux } from './labels.ts';
import { MOUNT_OPTIONS } from './mount-options.ts';
import { OCI_VERSION } from './oci-spec.ts';
import { CLONE_FLAGS } from './performer/namespaces.ts';
import { SECCOMP_FLAGS, SECCOMP_OPERATORS, SECCOMP_RET } from './seccomp/compile.ts';
import { describeMachine } from './seccomp/syscall-numbers.ts';

/** What this runtime supports, runtime-spec features.md and features-linux.md; every list is the one that the code uses. */
export function buildFeatures() {
  return {
    ociVersionMin: '1.0.0',
    ociVersionMax: OCI_VERSION,
    hooks: HOOKS.map(({ name }) => name),
    mountOptions: MOUNT_OPTIONS,
    linux: {
      namespaces: Object.keys(CLONE_FLAGS).sort(),
      capabilities: CAPABILITIES,
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: false, rdma: true },
      seccomp: {
        enabled: true,
        actions: Object.keys(SECCOMP_RET),
        operators: SECCOMP_OPERATORS,
        archs: (['x64', 'arm64'] as const).flatMap((machine) =>
          describeMachine(machine).abis.map(({ name }) => name),
        ),
        knownFlags: Object.keys(SECCOMP_FLAGS),
        supportedFlags: Object.keys(SECCOMP_FLAGS),
      },
      apparmor: { enabled: hasAppArmor() },
      selinux: { enabled: hasSelinux() },
      intelRdt: { enabled: false },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: false },
    },
  };
}
