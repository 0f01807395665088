import type { Duplex, Readable } from 'node:stream';
import { errnoName } from '../../base/errno.ts';
import { PROGRAM_ADDRESS } from './machine.ts';
import type { LinkedProgram } from './program.ts';
import { REPORT, REPORT_SIZE } from './report-program.ts';

/** What the performer tells: a report of REPORT, or a call that failed. */
export interface Report {
  /** A kind of REPORT; with a failure, the record's address. */
  readonly kind: number;
  /** What belongs to the report; with a failure, the call's result, which is negative. */
  readonly value: number;
}

/** True for the report of a call that ended the program, or with which it could not be started. */
export function isFailure(report: Report): boolean {
  return report.kind >= PROGRAM_ADDRESS || report.kind === REPORT.unborn;
}

/** What a failure means for the administrator, given the program that was to be performed. */
export function explainFailure({ explain }: Pick<LinkedProgram, 'explain'>, { kind, value }: Report): string {
  return kind === REPORT.unborn ? `start a process: ${errnoName(-value)}` : explain(kind, value);
}

/** The reports in the bytes of a descriptor. */
function parseReports(bytes: Buffer): readonly Report[] {
  return Array.from({ length: Math.floor(bytes.length / REPORT_SIZE) }, (_unused, index) => ({
    kind: Number(bytes.readBigUInt64LE(index * REPORT_SIZE)),
    value: Number(bytes.readBigInt64LE(index * REPORT_SIZE + 8)),
  }));
}

/** Reports as they come. */
export class ReportChannel {
  readonly #source: Duplex | Readable;
  readonly #ready: Report[] = [];
  readonly #waiting: ((report: Report | undefined) => void)[] = [];
  #rest = Buffer.alloc(0);
  #isEnded = false;

  constructor(source: Duplex | Readable) {
    this.#source = source;
    source.on('data', (chunk: Buffer) => this.#receive(chunk));
    for (const event of ['error', 'close', 'end']) source.on(event, () => this.#end());
  }

  /** The next report, or undefined when the other side has ended. */
  next(): Promise<Report | undefined> {
    const report = this.#ready.shift();
    if (report !== undefined || this.#isEnded) return Promise.resolve(report);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Lets the process go on that waits for a byte. */
  send(text: string): void {
    if ('write' in this.#source) this.#source.write(text);
  }

  close(): void {
    this.#source.destroy();
    this.#end();
  }

  #receive(chunk: Buffer): void {
    const bytes = Buffer.concat([this.#rest, chunk]);
    this.#rest = bytes.subarray(bytes.length - (bytes.length % REPORT_SIZE));
    for (const report of parseReports(bytes)) {
      const waiting = this.#waiting.shift();
      if (waiting) waiting(report);
      else this.#ready.push(report);
    }
  }

  #end(): void {
    this.#isEnded = true;
    for (const waiting of this.#waiting.splice(0)) waiting(undefined);
  }
}
