import { TkadmError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { PATHS } from '../base/paths.ts';
import { waitFor } from '../base/time.ts';

const ROOTFS = `${PATHS.bundle}/current/rootfs`;
const NODE = `${ROOTFS}/usr/bin/node`;
const PROGRAMS = `${ROOTFS}/opt/tkadm`;

/** A long-running program of a node, outside of containers. */
export interface ServiceRow {
  readonly name: string;
  readonly description: string;
  readonly command: readonly string[];
  /** Shell variable files that may hold further arguments, and the variable to append. */
  readonly environmentFile?: string;
  readonly extraArgsVariable?: string;
  readonly after?: string;
}

/** The host services, in the order in which they start. */
export const SERVICES = [
  {
    name: 'tkadm-runtime',
    description: 'tkadm container runtime (CRI)',
    command: [NODE, `${PROGRAMS}/tkadm-runtime.cjs`, `--socket=${PATHS.runtimeSocket}`],
  },
  {
    name: 'tkadm-agent',
    description: 'tkadm node agent',
    command: [
      NODE,
      `${PROGRAMS}/tkadm-agent.cjs`,
      `--bootstrap-kubeconfig=${PATHS.kubernetes}/bootstrap-kubelet.conf`,
      `--kubeconfig=${PATHS.kubernetes}/kubelet.conf`,
      `--config=${PATHS.kubelet}/config.yaml`,
    ],
    environmentFile: `${PATHS.kubelet}/kubeadm-flags.env`,
    extraArgsVariable: 'KUBELET_KUBEADM_ARGS',
    after: 'tkadm-runtime',
  },
] as const satisfies readonly ServiceRow[];

export type ServiceName = (typeof SERVICES)[number]['name'];

/** Who starts services on this machine. */
export type InitSystem = 'systemd' | 'openrc' | 'none';

/** A file that a service needs to be started, written before `start`. */
export interface ServiceFile {
  readonly path: string;
  readonly mode: number;
  readonly content: string;
}

/** Looks which init system runs the machine: systemd's and OpenRC's own run-time directories tell. */
export async function detectInitSystem(host: Host): Promise<InitSystem> {
  if (await host.stat('/run/systemd/system')) return 'systemd';
  if ((await host.stat('/run/openrc')) && (await host.stat('/sbin/openrc-run'))) return 'openrc';
  return 'none';
}

/** The unit, init script or supervisor script of a service. */
export function buildServiceFile(service: ServiceRow, initSystem: InitSystem): ServiceFile {
  if (initSystem === 'systemd') {
    return { path: `/etc/systemd/system/${service.name}.service`, mode: 0o644, content: formatUnit(service) };
  }
  if (initSystem === 'openrc') {
    return { path: `/etc/init.d/${service.name}`, mode: 0o755, content: formatOpenRcScript(service) };
  }
  return { path: supervisorPath(service.name), mode: 0o755, content: formatSupervisor(service) };
}

/** Starts a service whose file is written, now and at boot. @throws SERVICE_FAILED */
export async function startService(host: Host, name: ServiceName, initSystem: InitSystem): Promise<void> {
  if (initSystem === 'systemd') {
    await runOrThrow(host, name, ['systemctl', 'daemon-reload']);
    await runOrThrow(host, name, ['systemctl', 'enable', '--now', `${name}.service`]);
    return;
  }
  if (initSystem === 'openrc') {
    await runOrThrow(host, name, ['rc-update', 'add', name, 'default']);
    await runOrThrow(host, name, ['rc-service', name, 'start']);
    return;
  }
  if (await isServiceRunning(host, name, initSystem)) return;
  await host.mkdir(PATHS.run);
  await host.mkdir(PATHS.logs);
  await runOrThrow(host, name, [
    'sh',
    '-c',
    'setsid "$1" </dev/null >/dev/null 2>&1 & exit 0',
    'sh',
    supervisorPath(name),
  ]);
}

/** Stops a service and waits until its process is gone; containers go on. */
export async function stopService(host: Host, name: ServiceName, initSystem: InitSystem): Promise<void> {
  if (initSystem === 'systemd') {
    await host.run(['systemctl', 'disable', '--now', `${name}.service`]);
    return;
  }
  if (initSystem === 'openrc') {
    await host.run(['rc-service', name, 'stop']);
    await host.run(['rc-update', 'del', name, 'default']);
    return;
  }
  for (const role of ['supervisor', 'service'] as const) {
    const pid = await readPid(host, pidPath(name, role));
    if (
      pid === undefined ||
      !(await isProcess(host, pid, role === 'supervisor' ? `/${name}` : `${name}.cjs`))
    )
      continue;
    await host.run(['kill', '-TERM', String(pid)]);
    await waitFor(async () => ((await host.stat(`/proc/${pid}`)) ? undefined : true), {
      subject: `the end of ${name} (pid ${pid})`,
      timeoutMs: 5_000,
      intervalMs: 20,
    }).catch(() => host.run(['kill', '-KILL', String(pid)]));
    await host.remove(pidPath(name, role));
  }
}

/** True while the service's process lives. */
export async function isServiceRunning(
  host: Host,
  name: ServiceName,
  initSystem: InitSystem,
): Promise<boolean> {
  if (initSystem === 'systemd') {
    return (await host.run(['systemctl', 'is-active', '--quiet', `${name}.service`])).exitCode === 0;
  }
  if (initSystem === 'openrc') return (await host.run(['rc-service', name, 'status'])).exitCode === 0;
  const pid = await readPid(host, pidPath(name, 'supervisor'));
  return pid !== undefined && (await isProcess(host, pid, `/${name}`));
}

/** A command of POSIX sh that tells the same by its exit code, whatever the init system: one session over SSH. */
export function runningScript(name: ServiceName): string {
  const byPid = `read -r pid < ${pidPath(name, 'supervisor')} && grep -q /${name} "/proc/$pid/cmdline"`;
  const byOpenRc = `rc-service ${name} status`;
  const bySystemd = `systemctl is-active --quiet ${name}.service`;
  return `{ if [ -e /run/systemd/system ]; then ${bySystemd}; elif [ -e /run/openrc ] && [ -e /sbin/openrc-run ]; then ${byOpenRc}; else ${byPid}; fi; } >/dev/null 2>&1`;
}

/** Pid of the service's own process, undefined when it does not run. */
export async function servicePid(
  host: Host,
  name: ServiceName,
  initSystem: InitSystem,
): Promise<number | undefined> {
  if (initSystem === 'systemd') {
    const { stdout } = await host.run([
      'systemctl',
      'show',
      '--property=MainPID',
      '--value',
      `${name}.service`,
    ]);
    return Number(stdout.trim()) || undefined;
  }
  const pid =
    initSystem === 'openrc'
      ? await superviseChild(host, name)
      : await readPid(host, pidPath(name, 'service'));
  return pid !== undefined && (await isProcess(host, pid, `${name}.cjs`)) ? pid : undefined;
}

/** Log file of a service where no init system keeps one. */
export function serviceLogPath(name: string): string {
  return `${PATHS.logs}/${name}.log`;
}

function supervisorPath(name: string): string {
  return `${PATHS.state}/services/${name}`;
}

function pidPath(name: string, role: 'supervisor' | 'service'): string {
  return `${PATHS.run}/${name}.${role}.pid`;
}

async function readPid(host: Host, path: string): Promise<number | undefined> {
  const text = await host.readFile(path);
  return text === undefined ? undefined : Number(text.trim()) || undefined;
}

/** Pid of the program below OpenRC's supervise-daemon, which writes down its own: proc(5), `children`. */
async function superviseChild(host: Host, name: string): Promise<number | undefined> {
  const supervisor = await readPid(host, `/run/supervise-${name}.pid`);
  if (supervisor === undefined) return undefined;
  const { stdout } = await host.run(['cat', `/proc/${supervisor}/task/${supervisor}/children`]);
  return Number(stdout.trim().split(' ')[0]) || undefined;
}

/** A pid may have been given to another process since: its command line must still name the service. */
async function isProcess(host: Host, pid: number, needle: string): Promise<boolean> {
  return (await host.readFile(`/proc/${pid}/cmdline`))?.includes(needle) ?? false;
}

async function runOrThrow(host: Host, name: string, argv: readonly string[]): Promise<void> {
  const result = await host.run(argv);
  if (result.exitCode === 0) return;
  throw new TkadmError(
    'SERVICE_FAILED',
    `Cannot start "${name}": ${result.stderr.trim() || `exit code ${result.exitCode}`}`,
    {
      hint: `${argv.join(' ')}`,
    },
  );
}

function formatCommand(service: ServiceRow): string {
  const words = service.command.map((word) => (/^[\w./=:-]+$/.test(word) ? word : `'${word}'`));
  return service.extraArgsVariable ? [...words, `$${service.extraArgsVariable}`].join(' ') : words.join(' ');
}

function formatUnit(service: ServiceRow): string {
  return [
    '[Unit]',
    `Description=${service.description}`,
    'After=network-online.target',
    'Wants=network-online.target',
    ...(service.after ? [`After=${service.after}.service`, `Wants=${service.after}.service`] : []),
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    ...(service.environmentFile ? [`EnvironmentFile=-${service.environmentFile}`] : []),
    `ExecStart=${formatCommand(service)}`,
    'Restart=always',
    'RestartSec=200ms',
    '# Containers outlive a restart of the service.',
    'KillMode=process',
    'Delegate=yes',
    '# A process that the kernel kills for its memory is no reason to stop the others.',
    'OOMPolicy=continue',
    'TasksMax=infinity',
    'LimitNOFILE=1048576',
    '# Programs that guard devices count as locked memory before Linux 5.11.',
    'LimitMEMLOCK=infinity',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n');
}

function formatOpenRcScript(service: ServiceRow): string {
  const [command = '', ...args] = service.command;
  return [
    '#!/sbin/openrc-run',
    `description="${service.description}"`,
    'supervisor=supervise-daemon',
    ...(service.environmentFile ? [`[ -r ${service.environmentFile} ] && . ${service.environmentFile}`] : []),
    `command=${command}`,
    `command_args="${args.join(' ')}${service.extraArgsVariable ? ` $${service.extraArgsVariable}` : ''}"`,
    'respawn_delay=1',
    'respawn_max=0',
    `output_log=${serviceLogPath(service.name)}`,
    `error_log=${serviceLogPath(service.name)}`,
    'rc_ulimit="-n 1048576"',
    // supervise-daemon ends its program at once when it cannot open the log.
    `start_pre() { checkpath --directory ${PATHS.logs}; }`,
    'depend() {',
    '  use net',
    ...(service.after ? [`  want ${service.after}`, `  after ${service.after}`] : []),
    '}',
    '',
  ].join('\n');
}

/**
 * A shell loop that restarts the service: 0.2 s after it ended, up to 5 s when it keeps ending at once.
 * SIGTERM ends the loop, not the service.
 */
function formatSupervisor(service: ServiceRow): string {
  return [
    '#!/bin/sh',
    `# Keeps ${service.name} running on a machine without an init system.`,
    `echo $$ > ${pidPath(service.name, 'supervisor')}`,
    'trap "exit 0" TERM',
    'delay=0.2',
    'while :; do',
    ...(service.environmentFile
      ? [`  [ -r ${service.environmentFile} ] && . ${service.environmentFile}`]
      : []),
    '  started=$(date +%s)',
    `  ${formatCommand(service)} >>${serviceLogPath(service.name)} 2>&1 </dev/null &`,
    `  echo $! > ${pidPath(service.name, 'service')}`,
    '  wait $!',
    '  [ $(($(date +%s) - started)) -gt 10 ] && delay=0.2',
    '  sleep $delay & wait $!',
    '  case $delay in 0.2) delay=0.5 ;; 0.5) delay=1 ;; *) delay=5 ;; esac',
    'done',
    '',
  ].join('\n');
}
