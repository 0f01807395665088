import { REPORT_FD } from '../performer/machine.ts';
import { NO_STREAMS, type Performer } from '../performer/performer.ts';
import { hide } from '../performer/process-program.ts';
import { linkProgram, Section } from '../performer/program.ts';
import { explainFailure, isFailure } from '../performer/report-channel.ts';
import { buildReport, REPORT, sendReport } from '../performer/report-program.ts';

/** A process that does nothing, for a scope to begin with: systemd makes none without. */
export interface ScopeHolder {
  readonly pid: number;
  /** Ends it. */
  release(): void;
}

/** Starts a process that ends with this one at the latest. @throws Error */
export async function startScopeHolder(performer: Performer): Promise<ScopeHolder> {
  const section = new Section();
  const self = buildReport(section, REPORT.pid);
  hide(section, 'tkadm-holder');
  section.call('getpid', [], { into: self.value });
  sendReport(section, REPORT_FD, self.data);
  section.step('wait for the end of the runtime');
  section.call('read', [REPORT_FD, section.room(), 1]);
  section.call('exit_group', [0]);
  const program = linkProgram([section], performer.machine);
  const reports = performer.perform(program.bytes, { name: 'tkadm-holder', streams: NO_STREAMS });
  const report = await reports.next();
  if (report === undefined) throw new Error('the process that holds the scope ended');
  if (isFailure(report)) throw new Error(explainFailure(program, report));
  return { pid: report.value, release: () => reports.close() };
}
