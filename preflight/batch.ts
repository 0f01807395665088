import { randomBytes } from 'node:crypto';
import { TkadmError } from '../runtime/base/errors.ts';
import type { CommandOptions, CommandResult, FileStat, Host } from '../runtime/base/host.ts';

/** Requests that come within this time go together. */
const WINDOW_MS = 1;
/** A slow machine needs seconds to start a shell. */
const FILES_TIMEOUT_MS = 20_000;

interface Request {
  readonly kind: 'read' | 'stat' | 'list' | 'run';
  /** A path; for `run` a command line of POSIX sh, quoted. */
  readonly text: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Gets what was said; for `run` exit code, "\n" and standard output, then standard error. */
  readonly resolve: (parts: readonly string[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Arguments: a mark, then kind, seconds and text of each request. Commands run at the same time; then comes for each
 * request the mark alone in a line and what there is to say, for a command twice. All of it, marks too, is said by one
 * `cat` of many files, since a process for each costs more than what it reads.
 */
const SCRIPT = `m=$1; shift
d=$(mktemp -d) || exit 1
trap 'rm -rf "$d"' EXIT
command -v timeout >/dev/null || timeout() { shift; "$@"; }
printf '\\n%s\\n' "$m" >"$d/mark"; printf '\\n%s\\nfile\\n' "$m" >"$d/file"; printf '\\n%s\\nrefused\\n' "$m" >"$d/refused"
start() {
  i=0
  while [ $# -gt 2 ]; do
    case $1 in
      run) { (eval "timeout $2 $3" >"$d/$i.out" 2>"$d/$i.err" </dev/null; echo $? >"$d/$i.code") & } ;;
      stat) stat -c '%F:%a:%s' -- "$3" >"$d/$i.out" ;;
      list) ls -1A -- "$3" >"$d/$i.out" ;;
    esac
    i=$((i + 1)); shift 3
  done 2>/dev/null
  wait
}
show() {
  i=0; n=$(($# / 3))
  while [ $i -lt $n ]; do
    case $1 in
      run) set -- "$@" "$d/mark" "$d/$i.code" "$d/$i.out" "$d/mark" "$d/$i.err" ;;
      read)
        if [ ! -e "$3" ]; then set -- "$@" "$d/mark"
        elif [ -r "$3" ]; then set -- "$@" "$d/file" "$3"
        else set -- "$@" "$d/refused"; fi ;;
      *) set -- "$@" "$d/mark" "$d/$i.out" ;;
    esac
    i=$((i + 1)); shift 3
  done
  cat -- "$@" "$d/mark" 2>/dev/null
  return 0
}
start "$@"
show "$@"`;

/**
 * The same machine; what is asked of it at one time is answered by one command. Over SSH each command is a session,
 * which costs more than what it does, and sshd gives ten at a time. A command with input goes alone.
 */
export function createBatchedHost(host: Host): Host {
  let waiting: Request[] = [];
  const flush = () => {
    const requests = waiting;
    waiting = [];
    answer(host, requests).catch((error) => {
      for (const request of requests) request.reject(error);
    });
  };
  const ask = (kind: Request['kind'], text: string, options: CommandOptions = {}) =>
    new Promise<readonly string[]>((resolve, reject) => {
      if (waiting.length === 0) setTimeout(flush, WINDOW_MS);
      const { timeoutMs = FILES_TIMEOUT_MS, signal } = options;
      waiting.push({ kind, text, timeoutMs, signal, resolve, reject });
    });
  return {
    ...host,
    async run(argv, options = {}) {
      if (options.input !== undefined || options.env !== undefined) return host.run(argv, options);
      return parseResult(await ask('run', argv.map(quote).join(' '), options));
    },
    async readFile(path) {
      const [text = ''] = await ask('read', path);
      if (text === '') return undefined;
      const end = text.indexOf('\n');
      if (text.slice(0, end) === 'file') return text.slice(end + 1);
      throw new TkadmError('FILE_READ', `Cannot read "${path}" on "${host.name}": it is not readable`);
    },
    stat: async (path) => parseStat((await ask('stat', path))[0] ?? ''),
    list: async (path) => ((await ask('list', path))[0] ?? '').split('\n').filter(Boolean).sort(),
  };
}

async function answer(host: Host, requests: readonly Request[]): Promise<void> {
  const mark = randomBytes(16).toString('hex');
  const words = requests.flatMap(({ kind, text, timeoutMs }) => [
    kind,
    String(Math.ceil(timeoutMs / 1000)),
    text,
  ]);
  const signal = requests.find((request) => request.signal)?.signal;
  const timeoutMs = Math.max(...requests.map((request) => request.timeoutMs)) + FILES_TIMEOUT_MS;
  const { stdout, stderr, exitCode } = await host.run(['sh', '-c', SCRIPT, 'sh', mark, ...words], {
    timeoutMs,
    ...(signal ? { signal } : {}),
  });
  const parts = stdout.split(`\n${mark}\n`).slice(1, -1);
  const counts = requests.map((request) => (request.kind === 'run' ? 2 : 1));
  if (exitCode !== 0 || parts.length !== counts.reduce((sum, count) => sum + count, 0)) {
    const state = stderr.trim() || `no whole answer within ${timeoutMs / 1000} s (exit code ${exitCode})`;
    throw new TkadmError('FILE_READ', `Cannot look at "${host.name}": ${state}`);
  }
  for (const [i, request] of requests.entries()) request.resolve(parts.splice(0, counts[i]!));
}

function parseResult([text = '', stderr = '']: readonly string[]): CommandResult {
  const end = text.indexOf('\n');
  return { exitCode: Number(text.slice(0, end)), stdout: text.slice(end + 1), stderr };
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

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
