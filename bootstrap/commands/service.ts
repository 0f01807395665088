import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { installBundle } from '../../runtime/host/bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import {
  buildServiceFile,
  detectInitSystem,
  isServiceRunning,
  SERVICES,
  serviceLogPath,
  servicePid,
  startService,
  stopService,
} from '../../runtime/host/services.ts';
import { openSession } from '../journal/session.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';
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
  const services = SERVICES.filter(({ name }) => wanted === undefined || name === `tkadm-${wanted}`);
  if (services.length === 0) {
    throw new TkadmError('USAGE', `Cannot start "${wanted}": there is no such service`, {
      hint: 'tkadm service start [runtime|agent]',
    });
  }
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
  const session = await openSession({
    host,
    initSystem,
    command: 'service start',
    pid: context.pid,
    now: context.now,
    isPhase: false,
  });
  let state: 'done' | 'failed' = 'failed';
  try {
    if (!hasBundle)
      await session.record({ kind: 'install-bundle' }, 'bundle', async () => {
        await installBundle(host, bundleSources(context));
      });
    for (const service of services) {
      const file = buildServiceFile(service, initSystem);
      const isRunning = await isServiceRunning(host, service.name, initSystem);
      await session.record({ kind: 'start-service', name: service.name }, 'start', async () => {
        if (!(await host.stat(file.path))) await host.writeFile(file.path, file.content, { mode: file.mode });
        await startService(host, service.name, initSystem);
      });
      if (wanted === 'runtime') await waitForContainers();
      tell(isRunning ? `${service.name} runs already\n` : `Started ${service.name}\n`);
    }
    state = 'done';
  } finally {
    await session.end(state);
  }
  writeData(context, options.output, { started: services.map(({ name }) => name) }, '');
}

/** Until `tkadm ctr` is answered. @throws WAIT_TIMEOUT */
async function waitForContainers(): Promise<void> {
  const { CTR_SOCKET, callCtr } = await import('../../runtime/ctr/ctr-client.ts');
  await waitFor(() => callCtr(CTR_SOCKET, 'info', {}), {
    subject: `an answer at "${CTR_SOCKET}"`,
    timeoutMs: 20_000,
    intervalMs: 50,
  });
}

interface ServiceOptions {
  readonly output: string;
}

/** Lines for people as things happen; programs get one document in the end. */
function progress(context: CliContext, { output }: ServiceOptions): (line: string) => void {
  return output === 'text' ? context.write : () => {};
}

/** `tkadm service stop [--all]`: the agent, with `--all` every pod sandbox, then the runtime. */
export async function runServiceStop(
  context: CliContext,
  options: ServiceOptions & { readonly all?: boolean },
): Promise<void> {
  requireRoot(context);
  const tell = progress(context, options);
  const host = createLocalHost();
  const initSystem = await detectInitSystem(host);
  await stopService(host, 'tkadm-agent', initSystem);
  tell('Stopped tkadm-agent\n');
  let counts: { readonly sandboxes: number; readonly containers: number } | undefined;
  if (options.all) {
    const { endContainers, stopAllSandboxes } = await import('../phases/sandboxes.ts');
    const sandboxes = await stopAllSandboxes({ remove: false });
    counts = { sandboxes, containers: await endContainers({ remove: false }) };
    tell(`Stopped ${sandboxes} pod sandboxes\n`);
    if (counts.containers > 0) tell(`Stopped ${counts.containers} containers of tkadm ctr\n`);
  }
  await stopService(host, 'tkadm-runtime', initSystem);
  tell('Stopped tkadm-runtime\n');
  const stopped = ['tkadm-agent', 'tkadm-runtime'];
  writeData(context, options.output, { stopped, ...counts }, '');
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
