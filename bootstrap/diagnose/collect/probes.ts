import type { Host } from '../../../runtime/base/host.ts';
import type { ProbeEvidence, ProbeOutcome } from '../evidence.ts';

export interface ProbeTarget {
  readonly name: string;
  readonly url: string;
  /** Path of the CA on the machine that asks. */
  readonly caPath?: string | undefined;
}

/**
 * Standard input: milliseconds, and name, URL and path of the CA of each target, as JSON. What counts is an answer, not a connection:
 * a proxy on the way may accept for an address that nobody has. The certificate is judged, and not insisted on.
 */
const SCRIPT = `
const fs = require('fs');
const { ms, targets } = JSON.parse(fs.readFileSync(0, 'utf8'));
const done = targets.map(({ name, url, caPath: ca }) => new Promise((end) => {
    const tell = (row) => end({ name, url, ...row });
    const send = require(url.startsWith('https') ? 'https' : 'http').request;
    let text;
    try { text = ca ? fs.readFileSync(ca) : undefined; } catch {}
    const request = send(url, { agent: false, rejectUnauthorized: false, ...(text ? { ca: text } : {}) }, (answer) => {
      answer.resume();
      tell({ status: answer.statusCode, date: answer.headers.date, distrust: text && answer.socket.authorizationError ? String(answer.socket.authorizationError.code || answer.socket.authorizationError) : undefined });
    });
    request.on('error', (error) => tell({ code: error.code || '', message: error.message }));
    setTimeout(() => { tell({ code: 'SILENT', message: 'no answer within ' + ms + ' ms' }); request.destroy(); }, ms).unref();
    request.end();
}));
Promise.all(done).then((rows) => fs.writeSync(1, JSON.stringify(rows)));
`;

interface ProbeRow {
  readonly name: string;
  readonly url: string;
  readonly status?: number;
  readonly date?: string;
  readonly distrust?: string;
  readonly code?: string;
  readonly message?: string;
}

export interface ProbeOptions {
  /** Node.js there. */
  readonly nodePath: string;
  readonly timeoutMs: number;
  readonly now: () => Date;
}

/** Sends a GET to each target from a machine, all at the same time. */
export async function probeAll(
  host: Host,
  targets: readonly ProbeTarget[],
  { nodePath, timeoutMs, now }: ProbeOptions,
): Promise<readonly ProbeEvidence[]> {
  if (targets.length === 0) return [];
  const input = JSON.stringify({ ms: timeoutMs, targets });
  // A machine that is slow to start a program needs longer than what it asks.
  const result = await host.run([nodePath, '-e', SCRIPT], { input, timeoutMs: timeoutMs + 10_000 });
  if (result.exitCode !== 0) throw new Error(result.stderr.trim().split('\n').at(-1) ?? 'it ended at once');
  return (JSON.parse(result.stdout) as readonly ProbeRow[]).map((row) => describe(row, now()));
}

function describe({ name, url, status, date, distrust, code, message }: ProbeRow, now: Date): ProbeEvidence {
  if (status === undefined) return { name, url, outcome: outcomeOf(code ?? ''), said: message ?? '' };
  const serverMs = Date.parse(date ?? '');
  return {
    name,
    url,
    outcome: 'answered',
    said: `HTTP ${status}`,
    ...(distrust === undefined ? {} : { distrust }),
    ...(Number.isNaN(serverMs) ? {} : { skewMs: now.getTime() - serverMs }),
  };
}

/** What an error code of a connection tells. */
export function outcomeOf(code: string): ProbeOutcome {
  if (code === 'ECONNREFUSED') return 'refused';
  if (code === 'SILENT' || code === 'ETIMEDOUT') return 'silent';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'unknown-name';
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH') return 'no-route';
  return 'broken';
}
