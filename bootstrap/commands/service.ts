import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import {
  buildServiceFile,
  detectInitSystem,
  SERVICES,
  serviceLogPath,
  servicePid,
  startService,
  stopService,
} from '../../runtime/host/services.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';

/** `tkadm service start`: the runtime, then the agent; both find again what was there. */
export async function runServiceStart(context: CliContext, options: ServiceOptions): Promise<void> {
  const tell = progress(context, options);
  const host = createLocalHost();
  const initSystem = await detectInitSystem(host);
  if (!(await host.stat(`${PATHS.bundle}/current`))) {
    throw new TkadmError(
      'SERVICE_FAILED',
      `Cannot start the services: no node bundle at "${PATHS.bundle}/current"`,
      {
        hint: 'tkadm init, or tkadm join',
      },
    );
  }
  for (const service of SERVICES) {
    const file = buildServiceFile(service, initSystem);
    if (!(await host.stat(file.path))) await host.writeFile(file.path, file.content, { mode: file.mode });
    await startService(host, service.name, initSystem);
    tell(`Started ${service.name}\n`);
  }
  writeData(context, options.output, { started: SERVICES.map(({ name }) => name) }, '');
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
  const tell = progress(context, options);
  const host = createLocalHost();
  const initSystem = await detectInitSystem(host);
  await stopService(host, 'tkadm-agent', initSystem);
  tell('Stopped tkadm-agent\n');
  let sandboxes: number | undefined;
  if (options.all) {
    const { stopAllSandboxes } = await import('../phases/sandboxes.ts');
    sandboxes = await stopAllSandboxes({ remove: false });
    tell(`Stopped ${sandboxes} pod sandboxes\n`);
  }
  await stopService(host, 'tkadm-runtime', initSystem);
  tell('Stopped tkadm-runtime\n');
  const stopped = ['tkadm-agent', 'tkadm-runtime'];
  writeData(context, options.output, { stopped, ...(sandboxes === undefined ? {} : { sandboxes }) }, '');
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
