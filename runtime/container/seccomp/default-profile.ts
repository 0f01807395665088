import type { OciSeccomp, OciSeccompRule, SeccompOperator } from './oci-seccomp.ts';

const ENOSYS = 38;
/** CLONE_NEW* flags of clone(2); CLONE_NEWTIME lies in the bits of the exit signal there. */
const NAMESPACE_FLAGS = 0x7e020000;
/**
 * The address family that reaches the hypervisor past the network namespace. The others are listed, since the kernel
 * ignores the upper half of the argument: 2³² + 40 is not equal to 40 and yet a vsock.
 */
const AF_VSOCK = 40;
const FAMILIES_ABOVE_VSOCK = [41, 42, 43, 44, 45] as const;

/** Calls that every container may make, by subject; what one architecture lacks is ignored there. */
const ALLOWED = {
  files: `access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
    flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64
    ioctl lchown lchown32 link linkat lseek _llseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at
    newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statx
    symlink symlinkat sync sync_file_range sync_file_range2 arm_sync_file_range syncfs tee truncate truncate64 umask
    unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev arm_fadvise64_64`,
  attributes: `fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat
    llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat`,
  waiting: `epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
    io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect poll ppoll ppoll_time64 pselect6
    pselect6_time64 select`,
  memory: `brk madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
    mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages`,
  processes: `capget capset execve execveat exit exit_group fork getcpu getpgid getpgrp getpid getppid getpriority
    getrlimit getrusage getsid gettid ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self membarrier pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev
    ptrace restart_syscall rseq seccomp setpgid setpriority setrlimit setsid tgkill tkill ugetrlimit uretprobe vfork
    wait4 waitid waitpid`,
  threads: `futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list get_thread_area
    set_robust_list set_thread_area set_tid_address set_tls breakpoint cacheflush sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
    arch_prctl modify_ldt`,
  identity: `getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
    getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32`,
  signals: `pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask sigreturn`,
  time: `adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64 times`,
  sockets: `accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair`,
  messages: `ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat
    shmctl shmdt shmget`,
  system: 'cachestat getrandom sysinfo uname',
} as const;

/** Execution domains: PER_LINUX, PER_LINUX32, each with UNAME26, and the question for the present one. */
const PERSONALITIES = [0x0, 0x0008, 0x20000, 0x20008, 0xffffffff] as const;

/** Calls that go with a capability. */
const BY_CAPABILITY: Readonly<Record<string, string>> = {
  CAP_BPF: 'bpf',
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_PERFMON: 'perf_event_open',
  CAP_SYS_ADMIN: `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie mount
    mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname
    setns statmount syslog umount umount2 unshare`,
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'delete_module finit_module init_module',
  CAP_SYS_NICE: 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp pidfd_getfd process_madvise',
  CAP_SYS_RAWIO: 'ioperm iopl',
  CAP_SYS_TIME: 'clock_settime clock_settime64 settimeofday stime',
  CAP_SYS_TTY_CONFIG: 'vhangup',
  CAP_SYSLOG: 'syslog',
};

/**
 * The profile RuntimeDefault for a container with these capabilities: what is not listed fails with EPERM. The same
 * calls that Docker's and containerd's default profiles let through (docs/decisions/seccomp.md).
 * @param bounding "CAP_CHOWN", ...
 */
export function buildDefaultSeccomp(bounding: readonly string[]): OciSeccomp {
  const allow = (names: string): OciSeccompRule => ({ names: words(names), action: 'SCMP_ACT_ALLOW' });
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_AARCH64'],
    syscalls: [
      ...Object.values(ALLOWED).map(allow),
      allowFirst('socket', 'SCMP_CMP_LT', AF_VSOCK),
      ...FAMILIES_ABOVE_VSOCK.map((value) => allowFirst('socket', 'SCMP_CMP_EQ', value)),
      ...PERSONALITIES.map((value) => allowFirst('personality', 'SCMP_CMP_EQ', value)),
      ...bounding.flatMap((name) => allow(BY_CAPABILITY[name] ?? '')),
      ...(bounding.includes('CAP_SYS_ADMIN') ? [] : NO_NEW_NAMESPACES),
    ],
  };
}

/** Threads and processes, no namespaces. clone3(2) has its flags in memory, where no filter sees them. */
const NO_NEW_NAMESPACES: readonly OciSeccompRule[] = [
  {
    names: ['clone'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
  },
  // The C libraries take clone(2) on ENOSYS.
  { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
];

/** Allows a call by its first argument. */
function allowFirst(name: string, op: SeccompOperator, value: number): OciSeccompRule {
  return { names: [name], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value, op }] };
}

function words(text: string): readonly string[] {
  return text.split(/\s+/).filter(Boolean);
}
