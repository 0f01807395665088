// The OCI command line over bundles: runc's verbs, one engine per call.

import { appendFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { createLogger, type Logger } from '../base/log.ts';
import { VERSION } from '../base/version.ts';
import { createContainerEngine } from './create-engine.ts';
import type { Verb } from './oci/call.ts';
import { CONTAINER_VERBS } from './oci/container-verbs.ts';
import { EVENTS_VERB } from './oci/events-verb.ts';
import { EXEC_VERB } from './oci/exec-verb.ts';
import { INSPECT_VERBS } from './oci/inspect-verbs.ts';
import { formatOptions, type OptionRow, type ParsedOptions, parseOptions } from './oci/options.ts';
import { UPDATE_VERB } from './oci/update-verb.ts';
import { OCI_VERSION } from './oci-spec.ts';

const PROGRAM = 'tkadm-oci';
const DEFAULT_ROOT = '/run/tkadm-oci';

const VERBS: readonly Verb[] = [...CONTAINER_VERBS, EXEC_VERB, UPDATE_VERB, EVENTS_VERB, ...INSPECT_VERBS];
const CRIU = 'containers are not checkpointed';

const GLOBAL_OPTIONS: readonly OptionRow[] = [
  { name: 'root', kind: 'value', help: `directory of the containers' state, default "${DEFAULT_ROOT}"` },
  { name: 'log', kind: 'value', help: 'file for messages, besides the standard error' },
  { name: 'log-format', kind: 'value', help: '"text", the default, or "json"' },
  { name: 'debug', kind: 'switch', help: 'more messages' },
  {
    name: 'systemd-cgroup',
    kind: 'switch',
    help: 'let systemd make the cgroup; "linux.cgroupsPath" is SLICE:PREFIX:NAME',
  },
  {
    name: 'cgroup-manager',
    kind: 'value',
    help: '"cgroupfs", the default, or "systemd", as --systemd-cgroup',
  },
  { name: 'rootless', kind: 'value', help: 'accepted are "false" and "auto": this program runs as root' },
  { name: 'criu', kind: 'value', help: '', refused: CRIU },
  { name: 'help', short: 'h', kind: 'switch', help: 'show this' },
  { name: 'version', short: 'v', kind: 'switch', help: 'show the version' },
];
const HELP: OptionRow = { name: 'help', short: 'h', kind: 'switch', help: 'show this' };

void main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<void> {
  let record: (message: string) => void = () => {};
  let failureCode = 1;
  try {
    const global = parseOptions(GLOBAL_OPTIONS, argv, PROGRAM);
    record = openLogFile(global);
    failureCode = VERBS.find(({ name }) => name === global.args[0])?.failureCode ?? 1;
    process.exitCode = await dispatch(global);
  } catch (error) {
    const { message } = error as Error;
    const hint = error instanceof TkadmError && error.hint ? `\n${error.hint}` : '';
    record(message);
    process.stderr.write(`${PROGRAM}: ${message}${hint}\n`);
    process.exitCode = failureCode;
  }
  // Handles of a container that goes on must not keep this process.
  process.exit();
}

/** Errors go to the file of --log as well, in the form that containerd and Podman read (logrus's). */
function openLogFile({ given }: ParsedOptions): (message: string) => void {
  const path = given.get('log')?.at(-1);
  const format = given.get('log-format')?.at(-1) ?? 'text';
  if (format !== 'text' && format !== 'json') {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot use "--log-format=${format}": it is neither "text" nor "json"`,
    );
  }
  if (!path) return () => {};
  return (message) => {
    const time = new Date().toISOString();
    const line =
      format === 'json'
        ? JSON.stringify({ level: 'error', msg: message, time })
        : `time=${JSON.stringify(time)} level=error msg=${JSON.stringify(message)}`;
    appendFileSync(path, `${line}\n`);
  };
}

async function dispatch(global: ParsedOptions): Promise<number> {
  const print = (text: string) => void process.stdout.write(text);
  const [name, ...rest] = global.args;
  if (global.given.has('version')) {
    print(`${PROGRAM} version ${VERSION}\nspec: ${OCI_VERSION}\n`);
    return 0;
  }
  if (name === undefined || name === 'help' || global.given.has('help')) {
    print(formatHelp());
    return 0;
  }
  const verb = VERBS.find((one) => one.name === name);
  if (verb === undefined) {
    const reason = name === 'checkpoint' || name === 'restore' ? CRIU : 'no such command';
    throw new TkadmError('FLAG_UNKNOWN', `Cannot run "${name}": ${reason}`, {
      hint: `See "${PROGRAM} --help"`,
    });
  }
  const options = parseOptions([...verb.options, HELP], rest, `${PROGRAM} ${name}`);
  if (options.given.has('help')) {
    const usage = `Usage: ${PROGRAM} ${name} [FLAGS] ${verb.args}`.trimEnd();
    print(`${usage}\n\n${verb.summary}\n\n${formatOptions([...verb.options, HELP])}\n`);
    return 0;
  }
  if (options.args.length > (verb.maxArgs ?? options.args.length)) {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot use "${options.args[verb.maxArgs ?? 0]}": it is one argument too many`,
      {
        hint: `See "${PROGRAM} ${name} --help"`,
      },
    );
  }
  checkGlobal(global);
  const root = resolve(global.given.get('root')?.at(-1) ?? DEFAULT_ROOT);
  const log = openLogger(global.given.has('debug'));
  const openEngine = (only?: string) =>
    createContainerEngine({ stateDir: root, log, now: () => new Date(), only, followsOutput: false });
  const hasSystemdCgroup = hasSystemdManager(global);
  return await verb.run({ ...options, openEngine, hasSystemdCgroup, log, print, program: process });
}

function checkGlobal({ given }: ParsedOptions): void {
  const rootless = given.get('rootless')?.at(-1) ?? 'auto';
  if (rootless !== 'auto' && rootless !== 'false') {
    throw new TkadmError('UNSUPPORTED', `Cannot use "--rootless=${rootless}": this program runs as root`);
  }
  if (process.getuid?.() !== 0) throw new TkadmError('UNSUPPORTED', `Cannot run ${PROGRAM}: it needs root`);
}

/** crun's flag, or runc's. @throws FLAG_INVALID */
function hasSystemdManager({ given }: ParsedOptions): boolean {
  const manager = given.get('cgroup-manager')?.at(-1) ?? 'cgroupfs';
  if (manager !== 'cgroupfs' && manager !== 'systemd') {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot use "--cgroup-manager=${manager}": it is neither "cgroupfs" nor "systemd"`,
    );
  }
  return given.has('systemd-cgroup') || manager === 'systemd';
}

function openLogger(hasDebug: boolean): Logger {
  return createLogger({
    name: PROGRAM,
    level: hasDebug ? 'debug' : 'warn',
    write: (line) => process.stderr.write(line),
    now: () => new Date(),
  });
}

function formatHelp(): string {
  const verbs = VERBS.map(({ name, args, summary }) => `  ${`${name} ${args}`.trim().padEnd(36)} ${summary}`);
  return `Usage: ${PROGRAM} [GLOBAL FLAGS] COMMAND [FLAGS] ...\n\n${verbs.join('\n')}\n\n${formatOptions(GLOBAL_OPTIONS)}\n`;
}
