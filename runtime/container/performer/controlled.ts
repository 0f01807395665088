import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Libc } from '../libc.ts';
import type { Performer, PerformOptions } from './performer.ts';
import type { LinkedProgram } from './program.ts';
import { ReportChannel } from './report-channel.ts';

/** Performs the program of one more process in a container; what its parent tells comes on a pipe of its own. */
export function performWithControl(
  { libc, performer }: { readonly libc: Libc; readonly performer: Performer },
  program: LinkedProgram,
  options: Omit<PerformOptions, 'control'>,
): { readonly reports: ReportChannel; readonly control: ReportChannel } {
  const [read, write] = libc.pipe();
  const control = new ReportChannel(new Socket({ fd: read, readable: true, writable: false }));
  try {
    return { reports: performer.perform(program.bytes, { ...options, control: write }), control };
  } catch (error) {
    control.close();
    throw error;
  } finally {
    closeSync(write);
  }
}
