import { randomBytes } from 'node:crypto';
import { TkadmError } from '../runtime/base/errors.ts';
import type { FileStat, Host } from '../runtime/base/host.ts';

/** Requests that come within this time go together. */
const WINDOW_MS = 1;
const TIMEOUT_MS = 5_000;

interface Request {
  readonly kind: 'read' | 'stat' | 'list';
  readonly path: string;
  readonly resolve: (text: string) => void;
  readonly reject: (error: unknown) => void;
}

/** For each pair of a kind and a path: the mark alone in a line, then what there is to say. */
const SCRIPT = `m=$1; shift
while [ $# -gt 1 ]; do
  printf '\\n%s\\n' "$m"
  case $1 in
    read) [ -e "$2" ] && { [ -r "$2" ] && echo file || echo refused; cat -- "$2"; } ;;
    stat) stat -c '%F:%a:%s' -- "$2" ;;
    list) ls -1A -- "$2" ;;
  esac
  shift 2
done 2>/dev/null
printf '\\n%s\\n' "$m"`;

/**
 * The same machine, whose files that are asked for at one time are read by one command: over SSH each command
 * is a session, which costs more than what it does, and sshd gives ten at a time.
 */
export function createBatchedHost(host: Host): Host {
  let waiting: Request[] = [];
  const ask = (kind: Request['kind'], path: string) =>
    new Promise<string>((resolve, reject) => {
      if (waiting.length === 0) setTimeout(() => flush(), WINDOW_MS);
      waiting.push({ kind, path, resolve, reject });
    });
  const flush = () => {
    const requests = waiting;
    waiting = [];
    answer(host, requests).catch((error) => {
      for (const request of requests) request.reject(error);
    });
  };
  return {
    ...host,
    async readFile(path) {
      const text = await ask('read', path);
      if (text === '') return undefined;
      const end = text.indexOf('\n');
      if (text.slice(0, end) === 'file') return text.slice(end + 1);
      throw new TkadmError('FILE_READ', `Cannot read "${path}" on "${host.name}": it is not readable`);
    },
    stat: async (path) => parseStat(await ask('stat', path)),
    list: async (path) => (await ask('list', path)).split('\n').filter(Boolean).sort(),
  };
}

async function answer(host: Host, requests: readonly Request[]): Promise<void> {
  const mark = randomBytes(16).toString('hex');
  const words = requests.flatMap(({ kind, path }) => [kind, path]);
  const { stdout, stderr, exitCode } = await host.run(['sh', '-c', SCRIPT, 'sh', mark, ...words], {
    timeoutMs: TIMEOUT_MS,
  });
  const texts = stdout.split(`\n${mark}\n`).slice(1, -1);
  if (exitCode !== 0 || texts.length !== requests.length) {
    const state = stderr.trim() || `exit code ${exitCode}`;
    throw new TkadmError('FILE_READ', `Cannot look at files of "${host.name}": ${state}`);
  }
  for (const [i, request] of requests.entries()) request.resolve(texts[i]!);
}

/** "regular file:644:12"; undefined for "". */
function parseStat(text: string): FileStat | undefined {
  if (text.trim() === '') return undefined;
  const [type = '', mode = '0', size = '0'] = text.trim().split(':');
  const kind =
    (['symlink', 'directory', 'file'] as const).find((name) =>
      type.includes({ symlink: 'symbolic', directory: 'directory', file: 'regular' }[name]),
    ) ?? 'other';
  return { kind, mode: Number.parseInt(mode, 8), sizeBytes: Number(size) };
}
