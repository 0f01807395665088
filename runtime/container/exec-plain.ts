import { TkadmError } from '../base/errors.ts';
import type { Container, ContainerContext } from './container.ts';
import type { LaunchTraits, PlainExec } from './engine.ts';
import { buildProgramOf, LOST_EXIT_CODE, nextReport, passListener } from './exec-session.ts';
import { exitCode } from './monitor.ts';
import type { OciProcess } from './oci-spec.ts';
import { performWithControl } from './performer/controlled.ts';
import { explainFailure } from './performer/report-channel.ts';
import { REPORT } from './performer/report-program.ts';

export interface PlainExecOptions {
  readonly process: OciProcess;
  readonly traits: LaunchTraits;
}

/**
 * Runs a process in a container with the standard streams of this process, as runc does.
 * @throws CONTAINER_EXEC with the step that failed.
 */
export async function startPlainExec(
  context: Pick<ContainerContext, 'libc' | 'performer' | 'filters'>,
  container: Container,
  { process: process_, traits }: PlainExecOptions,
): Promise<PlainExec> {
  const program = buildProgramOf(context, container, { process: process_, stdin: true }, traits);
  const { control, reports } = performWithControl(context, program, {
    name: 'tkadm-exec',
    streams: [0, 1, 2],
  });
  const born = await control.next();
  let reason: string | undefined;
  try {
    const report = await nextReport(reports);
    // The descriptor ends with execve(2): no report is the good one.
    const failure = await passListener(context.libc, container, { reports, pid: born?.value ?? 0, report });
    if (failure !== undefined) reason = explainFailure(program, failure);
    else if (born === undefined) reason = 'the process ended';
  } catch (error) {
    reason = (error as Error).message;
  }
  reports.close();
  if (born === undefined || reason !== undefined) {
    control.close();
    throw new TkadmError(
      'CONTAINER_EXEC',
      `Cannot run a process in container "${container.state.id}": ${reason}`,
    );
  }
  if (traits.reaper === 'caller') {
    control.close();
    return { pid: born.value, exited: undefined };
  }
  const exited = control.next().then((last) => {
    control.close();
    return last?.kind === REPORT.exit ? exitCode(last.value) : LOST_EXIT_CODE;
  });
  return { pid: born.value, exited };
}
