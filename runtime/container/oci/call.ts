import { resolve } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { isCapability } from '../capability-sets.ts';
import type { ContainerEngine, ContainerStatus } from '../engine.ts';
import type { OciProcess } from '../oci-spec.ts';
import type { OptionRow, ParsedOptions } from './options.ts';

/** What a verb is called with. */
export interface Call extends ParsedOptions {
  /** Opens the engine over the containers, or over one of them alone. */
  readonly openEngine: (only?: string) => Promise<ContainerEngine>;
  /** systemd makes the cgroups of new containers. */
  readonly hasSystemdCgroup: boolean;
  readonly log: Logger;
  readonly print: (text: string) => void;
  readonly program: Program;
}

/** What the verbs need of this process. */
export type Program = Pick<NodeJS.Process, 'env' | 'pid' | 'on' | 'stdin' | 'stdout'>;

/** A verb of the command line; resolves with the exit code. */
export interface Verb {
  readonly name: string;
  readonly args: string;
  /** How many arguments there may be; any number without it. */
  readonly maxArgs?: number;
  readonly summary: string;
  readonly options: readonly OptionRow[];
  /** The exit code of a failure of its own, where a program's must be told from it; 1 without it. */
  readonly failureCode?: number;
  readonly run: (call: Call) => Promise<number>;
}

/** The last value of a flag. */
export function option({ given }: Call, name: string): string | undefined {
  return given.get(name)?.at(-1);
}

export function hasOption({ given }: Call, name: string): boolean {
  return given.has(name);
}

/** A flag that names a file, relative to the working directory. */
export function pathOption(call: Call, name: string): string | undefined {
  const path = option(call, name);
  return path === undefined ? undefined : resolve(path);
}

/** A flag that is a whole number. @throws FLAG_INVALID */
export function numberOption(call: Call, name: string): number | undefined {
  const text = option(call, name);
  if (text === undefined) return undefined;
  if (!/^-?\d+$/.test(text))
    throw new TkadmError('FLAG_INVALID', `Cannot use "--${name}=${text}": it is no number`);
  return Number(text);
}

/** runtime-spec config.md "Linux Process": a capability that cannot be granted is a warning. */
export function warnOfCapabilities({ log }: Call, process: OciProcess | undefined): void {
  const names = new Set(Object.values(process?.capabilities ?? {}).flat());
  const unknown = [...names].filter((name) => !isCapability(name));
  if (unknown.length > 0) log.warn(`Cannot grant capabilities that there are not: ${unknown.join(', ')}`);
}

/** The container's id, the first argument. @throws FLAG_INVALID */
export function idOf({ args }: Call): string {
  const [first] = args;
  if (first === undefined) throw new TkadmError('FLAG_INVALID', 'Cannot go on: the container id is missing');
  return first;
}

/** The engine over one container, which must be there. @throws CONTAINER_NOT_FOUND */
export async function findContainer(
  call: Call,
): Promise<{ readonly engine: ContainerEngine; readonly status: ContainerStatus; readonly id: string }> {
  const id = idOf(call);
  const engine = await call.openEngine(id);
  const status = engine.status(id);
  if (status === undefined)
    throw new TkadmError('CONTAINER_NOT_FOUND', `Cannot find container "${id}": it does not exist`);
  return { engine, status, id };
}
