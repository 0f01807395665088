import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { StoredContainer } from './container-state.ts';
import { openFifoReader } from './container-streams.ts';
import { SLOT_FILES } from './launch-bundle.ts';
import type { Libc } from './libc.ts';
import { writeFifo } from './monitor.ts';
import type { OciSpec } from './oci-spec.ts';
import { missingHome } from './passwd.ts';
import { explainStart } from './performer/container-program.ts';
import { RECORD } from './performer/machine.ts';
import { ReportChannel } from './performer/report-channel.ts';
import { REPORT } from './performer/report-program.ts';
import { sendListener } from './seccomp/listener.ts';

/** A container that waits for its start. */
export interface WaitingContainer {
  readonly directory: string;
  readonly spec: OciSpec;
  readonly state: StoredContainer;
}

/**
 * Lets a container become its program. `kill` ends one that cannot go on.
 * @throws CONTAINER_LAUNCH with what failed
 */
export async function openGate(libc: Libc, waiting: WaitingContainer, kill: () => void): Promise<void> {
  const { directory, spec, state } = waiting;
  const fail = (reason: string) =>
    new TkadmError('CONTAINER_LAUNCH', `Cannot start container "${state.id}": ${reason}`);
  const result = openFifoReader(join(directory, SLOT_FILES.result));
  if (!writeFifo(join(directory, SLOT_FILES.start), startMessage(libc, waiting))) {
    result.destroy();
    throw fail('its process has ended');
  }
  const reports = new ReportChannel(result);
  let report = await reports.next();
  if (report?.kind === REPORT.listener) {
    passListener(libc, waiting, { fd: report.value, kill });
    report = await reports.next();
  }
  if (report === undefined) return;
  const index = (report.kind - state.startAddress) / RECORD.size;
  throw fail(explainStart(spec, state.preservedCount ?? 0, { index, result: report.value }));
}

/** The process waits until those who decide on its calls have its descriptor. */
function passListener(
  libc: Libc,
  { directory, spec, state }: WaitingContainer,
  { fd, kill }: { readonly fd: number; readonly kill: () => void },
): void {
  const { id, pid, bundle = '', annotations } = state;
  const target = { spec, id, pid, containerPid: pid, bundle, annotations };
  try {
    sendListener(libc, { ...target, status: 'created' }, fd);
  } catch (error) {
    kill();
    throw error;
  }
  writeFifo(join(directory, SLOT_FILES.start), '1');
}

/** "HOME=/root" where the spec has no HOME, else any byte. */
function startMessage(libc: Libc, { spec, state }: WaitingContainer): string {
  const { process } = spec;
  const [home] = missingHome(libc, process?.env, { pid: state.pid, uid: process?.user?.uid ?? 0 });
  return `${home ?? ''}\0`;
}
