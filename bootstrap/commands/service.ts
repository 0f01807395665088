import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import {
  buildServiceFile,
  detectInitSystem,
  isServiceRunning,
  SERVICES,
  serviceLogPath,
  servicePid,
  startService,
} from '../../runtime/host/services.ts';
import type { CliContext } from './context.ts';
import { withJournal } from './journal.ts';
import { writeData } from './output.ts';
import { requireRoot } from './require-root.ts';

/**
 * `tkadm service start [runtime]`: the runtime, then the agent; both find again what was there. The runtime alone is
 * for `tkadm ctr` on a machine without a cluster: it brings the node bundle along.
 */
export async function runServiceStart(
  context: CliContext,
  options: ServiceOptions,
  wanted?: string,
): Promise<void> {
  const services = selectServices('start', wanted);
  requireRoot(context);
  const tell = progress(context, options);
  const host = createLocalHost();
  const initSystem = await detectInitSystem(host);
  const hasBundle = (await host.stat(`${PATHS.bundle}/current`)) !== undefined;
  if (!hasBundle && wanted === 'runtime') {
    tell('Installing the node bundle\n');
  } else if (!hasBundle) {
    throw new TkadmError(
      'SERVICE_FAILED',
      `Cannot start the services: no node bundle at "${PATHS.bundle}/current"`,
      {
        hint: 'tkadm init, tkadm join, or for tkadm ctr alone: tkadm service start runtime',
      },
    );
  }
  await withJournal(context, { host, command: 'service start', extent: 'run' }, async (perform) => {
    if (!hasBundle) await perform({ kind: 'install-bundle' });
    for (const service of services) {
      const file = buildServiceFile(service, initSystem);
      const isRunning = await isServiceRunning(host, service.name, initSystem);
      await perform({ kind: 'start-service', name: service.name }, async () => {
        if (!(await host.stat(file.path))) await host.writeFile(file.path, file.content, { mode: file.mode });
        await startService(host, service.name, initSystem);
      });
      if (wanted === 'runtime') await waitForContainers(context.signal);
      tell(isRunning ? `${service.name} runs already\n` : `Started ${service.name}\n`);
    }
  });
  writeData(context, options.output, { started: services.map(({ name }) => name) }, '');
}

/** Until `tkadm ctr` is answered. @throws WAIT_TIMEOUT */
async function waitForContainers(signal: AbortSignal): Promise<void> {
  const { CTR_SOCKET, callCtr } = await import('../../runtime/ctr/ctr-client.ts');
  await waitFor(() => callCtr(CTR_SOCKET, 'info', {}), {
    subject: `an answer at "${CTR_SOCKET}"`,
    timeoutMs: 20_000,
    intervalMs: 50,
    signal,
  });
}

interface ServiceOptions {
  readonly output: string;
}

/** Lines for people as things happen; programs get one document in the end. */
function progress(context: CliContext, { output }: ServiceOptions): (line: string) => void {
  return output === 'text' ? context.write : () => {};
}

/** The services that a word means; all without one. @throws USAGE */
function selectServices(verb: 'start' | 'stop', wanted: string | undefined) {
  const services = SERVICES.filter(({ name }) => wanted === undefined || name === `tkadm-${wanted}`);
  if (services.length > 0) return services;
  throw new TkadmError('USAGE', `Cannot ${verb} "${wanted}": there is no such service`, {
    hint: `tkadm service ${verb} [runtime|agent]`,
  });
}

/** `tkadm service stop [service] [--all]`: the agent, with `--all` every pod sandbox, then the runtime. */
export async function runServiceStop(
  context: CliContext,
  options: ServiceOptions & { readonly all?: boolean },
  wanted?: string,
): Promise<void> {
  const services = selectServices('stop', wanted).toReversed();
  if (options.all && wanted === 'agent') {
    throw new TkadmError('USAGE', 'Cannot stop the containers with the agent alone: the runtime goes on', {
      hint: 'tkadm service stop --all',
    });
  }
  requireRoot(context);
  const tell = progress(context, options);
  const host = createLocalHost();
  let counts: { readonly sandboxes: number; readonly containers: number } | undefined;
  await withJournal(context, { host, command: 'service stop', extent: 'run' }, async (perform) => {
    for (const { name } of services) {
      if (options.all && name === 'tkadm-runtime') {
        await perform({ kind: 'remove-sandboxes', areKept: true }, async () => {
          counts = await stopContainers(tell);
        });
      }
      await perform({ kind: 'stop-service', name });
      tell(`Stopped ${name}\n`);
    }
  });
  writeData(context, options.output, { stopped: services.map(({ name }) => name), ...counts }, '');
}

/** Stops every pod and every container of `tkadm ctr`; returns how many. */
async function stopContainers(tell: (line: string) => void) {
  const { endContainers, stopAllSandboxes } = await import('../phases/sandboxes.ts');
  const sandboxes = await stopAllSandboxes({ remove: false });
  const containers = await endContainers({ remove: false });
  tell(`Stopped ${sandboxes} pod sandboxes\n`);
  if (containers > 0) tell(`Stopped ${containers} containers of tkadm ctr\n`);
  return { sandboxes, containers };
}

/** `tkadm service status`: pid and log of each service. */
export async function runServiceStatus(context: CliContext, options: ServiceOptions): Promise<void> {
  const host = createLocalHost();
  const initSystem = await detectInitSystem(host);
  const rows = await Promise.all(
    SERVICES.map(async ({ name }) => ({
      name,
      pid: await servicePid(host, name, initSystem),
      log: initSystem === 'systemd' ? `journalctl -u ${name}` : serviceLogPath(name),
    })),
  );
  const text = rows.map(
    (row) => `${row.name}  ${row.pid ? `running (pid ${row.pid})` : 'stopped'}  log: ${row.log}\n`,
  );
  writeData(context, options.output, { initSystem, services: rows }, text.join(''));
}
