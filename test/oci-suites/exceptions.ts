/** A test that this program need not pass. */
export interface SuiteException {
  /** "SUITE PROGRAM", or "SUITE PROGRAM PART". */
  readonly test: string;
  /** How many assertions may fail; what would harm the machine or asks for another product is left out. */
  readonly failures: number | 'left out';
  readonly reason: string;
}

const KERNEL = 'only where the kernel has it: refused by name elsewhere';
const CHECKPOINTS = 'checkpoints are refused by name';
const LIBMOUNT = 'its tests need libmount for Python, without which there are none';

export const EXCEPTIONS: readonly SuiteException[] = [
  { test: 'crun checkpoint_restore checkpoint-restore', failures: 'left out', reason: CHECKPOINTS },
  { test: 'crun checkpoint_restore checkpoint-restore-ext-ns', failures: 'left out', reason: CHECKPOINTS },
  { test: 'crun checkpoint_restore checkpoint-restore-pre-dump', failures: 'left out', reason: CHECKPOINTS },
  {
    test: 'crun delete test_multiple_containers_delete',
    failures: 'left out',
    reason: '"delete --regex" is crun\'s own',
  },
  {
    test: 'crun delete test_simple_delete',
    failures: 'left out',
    reason: 'it freezes the container in a cgroup of its own, and nothing thaws it',
  },
  {
    test: 'crun exec exec_add_no_new_privileges',
    failures: 1,
    reason: 'as with runc a process keeps the "noNewPrivileges" of its container',
  },
  {
    test: 'crun hooks test-hook-env-inherit',
    failures: 1,
    reason: 'a hook without "env" gets an empty environment: the specification says that of execve(2)',
  },
  { test: 'crun mounts', failures: 1, reason: LIBMOUNT },
  {
    test: 'crun preserve_fds preserve-fds-some',
    failures: 1,
    reason: 'as with runc each descriptor of "--preserve-fds" must be there',
  },
  {
    test: 'crun seccomp seccomp-listener',
    failures: 'left out',
    reason: 'it waits for a listener though no action asks for one, and for version 0.2.0',
  },
  { test: 'crun start start', failures: 1, reason: "it reads a file of crun's own state" },
  {
    test: 'crun uid_gid keep-groups',
    failures: 1,
    reason: 'the annotation "run.oci.keep_original_groups" is crun\'s own',
  },
  {
    test: 'runtime-tools delete',
    failures: 2,
    reason: 'as with runc and crun a container that was created only may be deleted',
  },
  { test: 'runtime-tools hooks', failures: 1, reason: 'fails with runc and crun as well' },
  {
    test: 'runtime-tools hooks_stdin',
    failures: 1,
    reason: 'as with runc the status is "creating" until the operation has ended; crun says "created"',
  },
  { test: 'runtime-tools linux_cgroups_blkio', failures: 1, reason: `blkio.leaf_weight: ${KERNEL}` },
  { test: 'runtime-tools linux_cgroups_hugetlb', failures: 1, reason: `hugetlb: ${KERNEL}` },
  {
    test: 'runtime-tools linux_cgroups_memory',
    failures: 6,
    reason: 'kernels since 5.16 ignore memory.kernel; fails with runc and crun as well',
  },
  { test: 'runtime-tools linux_cgroups_network', failures: 1, reason: `net_cls: ${KERNEL}` },
  { test: 'runtime-tools linux_cgroups_relative_blkio', failures: 1, reason: `blkio.leaf_weight: ${KERNEL}` },
  { test: 'runtime-tools linux_cgroups_relative_hugetlb', failures: 2, reason: `hugetlb: ${KERNEL}` },
  {
    test: 'runtime-tools linux_cgroups_relative_memory',
    failures: 1,
    reason: 'kernels since 5.16 ignore memory.kernel',
  },
  { test: 'runtime-tools linux_cgroups_relative_network', failures: 1, reason: `net_cls: ${KERNEL}` },
  { test: 'runtime-tools linux_mount_label', failures: 1, reason: `SELinux: ${KERNEL}` },
  { test: 'runtime-tools linux_process_apparmor_profile', failures: 1, reason: `AppArmor: ${KERNEL}` },
  {
    test: 'runtime-tools misc_props',
    failures: 1,
    reason: 'its bundle lacks the program that it starts; fails with runc and crun as well',
  },
  {
    test: 'runtime-tools mounts',
    failures: 2,
    reason:
      'the order is right; since Linux 6.8 mountinfo goes by age, and shared binds are taken from the host first',
  },
  { test: 'runtime-tools pidfile', failures: 1, reason: 'it signals "true", which has ended by then' },
  { test: 'runtime-tools prestart', failures: 1, reason: 'fails with runc and crun as well' },
  { test: 'runtime-tools process_capabilities', failures: 1, reason: 'fails with runc and crun as well' },
  {
    test: 'runtime-tools process_capabilities_fail',
    failures: 1,
    reason: 'wants an error of what the specification now has ignored; fails with runc and crun as well',
  },
  {
    test: 'runtime-tools process_rlimits',
    failures: 1,
    reason: 'its configuration has RLIMIT_NOFILE twice; fails with runc and crun as well',
  },
  { test: 'runtime-tools start', failures: 1, reason: 'fails with runc and crun as well' },
];
