import { type Flag, REPEAT } from './flag.ts';

/** Flags of a process that a terminal is joined with: of run, exec, start and attach. */
export const DETACH_KEYS: Flag = [
  '--detach-keys <keys>',
  'keys that leave the container (default: ctrl-p,ctrl-q)',
];
export const SIG_PROXY: Flag = ['--sig-proxy <true|false>', 'hand signals on to the process (default: true)'];

/** Flags of docker's `create` that are not there. */
const ABSENT =
  `annotation blkio-weight blkio-weight-device cgroup-parent cgroupns cpu-rt-period cpu-rt-runtime
  device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops gpus health-cmd
  health-interval health-retries health-start-interval health-start-period health-timeout init ip ip6 isolation
  kernel-memory link link-local-ip log-driver mac-address memory-swappiness network-alias no-healthcheck
  oom-kill-disable runtime storage-opt userns volume-driver`
    .split(/\s+/)
    .map((name): Flag => [`--${name} [value]`, '', { isRefused: true }]);

/** Flags of `ctr create`, with docker's names. */
export const CREATE_FLAGS: readonly Flag[] = [
  ...ABSENT,
  ['--add-host <name:address>', 'line for /etc/hosts', REPEAT],
  ['-a, --attach <stream>', 'stdin, stdout or stderr', REPEAT],
  ['--cap-add <name>', 'give a capability, or ALL', REPEAT],
  ['--cap-drop <name>', 'take a capability, or ALL', REPEAT],
  ['--cidfile <file>', 'write the id to a file'],
  ['--cpu-period <us>', 'length of a period of CPU time'],
  ['--cpu-quota <us>', 'CPU time in each period'],
  ['-c, --cpu-shares <n>', 'weight among other containers (1024 is usual)'],
  ['--cpus <n>', 'CPUs, "0.5"'],
  ['--cpuset-cpus <list>', 'CPUs to run on, "0-1,3"'],
  ['--cpuset-mems <list>', 'memory nodes to use'],
  ['--device <path>', 'device of the host, PATH[:PATH][:rwm]', REPEAT],
  ['--dns <address>', 'DNS server', REPEAT],
  ['--dns-option <option>', 'option of resolv.conf', REPEAT],
  ['--dns-opt <option>', 'the same', REPEAT],
  ['--dns-search <domain>', 'DNS search domain', REPEAT],
  ['--domainname <name>', 'NIS domain name'],
  ['--entrypoint <program>', "instead of the image's entrypoint"],
  ['-e, --env <name=value>', 'environment variable', REPEAT],
  ['--env-file <file>', 'file of environment variables', REPEAT],
  ['--expose <port>', 'port that is not published', REPEAT],
  ['--group-add <group>', 'further group of the process', REPEAT],
  ['-h, --hostname <name>', 'host name'],
  ['-i, --interactive', 'keep standard input open'],
  ['--ipc <mode>', 'private, shareable, none, host or container:NAME'],
  ['-l, --label <name=value>', 'label', REPEAT],
  ['--label-file <file>', 'file of labels', REPEAT],
  ['--log-opt <option>', 'max-size=10m, max-file=3: what of its output is kept', REPEAT],
  ['-m, --memory <bytes>', 'memory limit, "100m"'],
  ['--memory-reservation <bytes>', 'memory that is left to it'],
  ['--memory-swap <bytes>', 'limit of memory and swap together, -1 for none'],
  ['--mount <mount>', 'type=bind|volume|tmpfs,source=..,target=..[,readonly]', REPEAT],
  ['--name <name>', 'name of the container'],
  ['--network <mode>', 'bridge, host, none or container:NAME (default: bridge)'],
  ['--net <mode>', 'the same'],
  ['--oom-score-adj <n>', 'how readily the kernel kills it when memory is short'],
  ['--pid <mode>', 'host or container:NAME'],
  ['--pids-limit <n>', 'limit of processes, -1 for none'],
  ['--platform <platform>', 'linux/amd64 or linux/arm64, as the machine is'],
  ['--privileged', 'all capabilities and devices, nothing hidden'],
  ['-p, --publish <port>', 'publish a port, [ADDRESS:][HOST-PORT:]PORT[/udp]', REPEAT],
  ['-P, --publish-all', 'publish all exposed ports at free ports'],
  ['--pull <when>', 'pull the image', { choices: ['missing', 'always', 'never'] }],
  ['-q, --quiet', 'do not show the progress of a pull'],
  ['--read-only', 'the root file system is read-only'],
  ['--restart <policy>', 'no, on-failure[:COUNT], always or unless-stopped (default: no)'],
  ['--rm', 'remove the container when it ends'],
  [
    '--security-opt <option>',
    'seccomp=unconfined|FILE, apparmor=PROFILE, systempaths=unconfined, no-new-privileges',
    REPEAT,
  ],
  ['--shm-size <bytes>', 'size of /dev/shm (default: 64m)'],
  ['--stop-signal <signal>', 'signal that stops it'],
  ['--stop-timeout <seconds>', 'time before it is killed (default: 10)'],
  ['--sysctl <name=value>', 'kernel parameter of its namespaces', REPEAT],
  ['--tmpfs <path>', 'file system in memory, PATH[:size=64m,mode=755]', REPEAT],
  ['-t, --tty', 'give it a terminal'],
  ['--ulimit <limit>', 'NAME=SOFT[:HARD]', REPEAT],
  ['-u, --user <user>', 'user[:group], by name or number'],
  ['--uts <mode>', 'host'],
  ['-v, --volume <mount>', '/HOST:/IN[:ro], VOLUME:/IN or /IN', REPEAT],
  ['--volumes-from <container>', "another container's volumes and binds, NAME[:ro]", REPEAT],
  ['-w, --workdir <dir>', 'working directory'],
];

const CHANGEABLE =
  /^--(memory|memory-swap|memory-reservation|cpus|cpu-period|cpu-quota|cpuset-cpus|cpuset-mems|pids-limit|restart) |^-(c|m), /;

/** Flags of `ctr update`: limits and the restart policy. */
export const UPDATE_FLAGS: readonly Flag[] = CREATE_FLAGS.filter(([usage]) => CHANGEABLE.test(usage)).map(
  ([usage, description]) => [usage, description.replace(' (default: no)', '')],
);

/** Flags of `ctr run`. */
export const RUN_FLAGS: readonly Flag[] = [
  ...CREATE_FLAGS,
  ['-d, --detach', 'do not wait, print the id'],
  DETACH_KEYS,
  SIG_PROXY,
];

/** Flags of `ctr exec`. */
export const EXEC_FLAGS: readonly Flag[] = [
  ['-d, --detach', 'do not wait'],
  DETACH_KEYS,
  ['-e, --env <name=value>', 'environment variable', REPEAT],
  ['--env-file <file>', 'file of environment variables', REPEAT],
  ['-i, --interactive', 'hand standard input on'],
  ['--privileged', 'all capabilities'],
  ['-t, --tty', 'give it a terminal'],
  ['-u, --user <user>', 'user[:group], by name or number'],
  ['-w, --workdir <dir>', 'working directory'],
];
