import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, type ServiceName, servicePid } from '../../runtime/host/services.ts';
import { serviceLogHint } from '../phases/hints.ts';
import type { Action } from '../workflow/action.ts';

/** How long a service may take to answer after its start. */
const START_TIMEOUT_MS = 60_000;

/** The id of the bundle that a service's process runs from; undefined when it does not run, or from elsewhere. */
export async function runningBundle(host: Host, name: ServiceName): Promise<string | undefined> {
  const pid = await servicePid(host, name, await detectInitSystem(host));
  if (pid === undefined) return undefined;
  const { stdout } = await host.run(['readlink', `/proc/${pid}/exe`]);
  return new RegExp(`^${PATHS.bundle}/([0-9a-f]{16})/`).exec(stdout)?.[1];
}

/** A new start of the runtime; containers go on meanwhile. */
export async function planRuntimeRestart(host: Host): Promise<readonly Action[]> {
  return [
    { kind: 'stop-service', name: 'tkadm-runtime' },
    { kind: 'start-service', name: 'tkadm-runtime' },
    {
      kind: 'wait',
      subject: 'the container runtime',
      timeoutMs: START_TIMEOUT_MS,
      target: { kind: 'runtime-ready' },
      hint: await serviceLogHint(host, 'tkadm-runtime'),
    },
  ];
}

/** A new start of the agent. */
export async function planAgentRestart(host: Host, timeoutMs: number): Promise<readonly Action[]> {
  return [
    { kind: 'stop-service', name: 'tkadm-agent' },
    { kind: 'start-service', name: 'tkadm-agent' },
    await planAgentWait(host, timeoutMs),
  ];
}

/** Waits until the agent says that it is well. */
export async function planAgentWait(host: Host, timeoutMs: number): Promise<Action> {
  return {
    kind: 'wait',
    subject: 'the agent at http://127.0.0.1:10248/healthz',
    timeoutMs,
    target: { kind: 'http', url: 'http://127.0.0.1:10248/healthz' },
    hint: await serviceLogHint(host, 'tkadm-agent'),
  };
}
