import { createHash } from 'node:crypto';
import type { Instruction } from '../dockerfile.ts';
import type { Variables } from '../dockerfile-words.ts';
import type { OciExecutionConfig } from '../oci-image.ts';

/** A row of an image configuration's `history` (OCI image-spec config.md). */
export type HistoryRow = Readonly<Record<string, unknown>>;

/** What the instructions of a stage have led to so far. */
export interface StageState {
  /** diffIds, bottom first. */
  readonly layers: readonly string[];
  readonly config: OciExecutionConfig;
  readonly history: readonly HistoryRow[];
  /** When the newest layer was made, RFC 3339: a build all from the cache gives the same image. */
  readonly createdAt: string | undefined;
  /** Digest of everything that led here: the key of the next step's cache entry. */
  readonly cacheKey: string;
  /** ARGs in scope. */
  readonly args: Variables;
  /** CMD stands in this Dockerfile, so that ENTRYPOINT does not drop it. */
  readonly hasOwnCmd: boolean;
}

/** A stage without files. */
export const SCRATCH: StageState = {
  layers: [],
  config: {},
  history: [],
  createdAt: undefined,
  cacheKey: 'scratch',
  args: new Map(),
  hasOwnCmd: false,
};

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Variables for expansion: ARGs, and ENV, which wins. */
export function variablesOf({ args, config }: StageState): Variables {
  return new Map([...args, ...(config.Env ?? []).map(splitVariable)]);
}

/** The environment of a RUN: the variables, and PATH. */
export function stepEnvironment(state: StageState): readonly string[] {
  return withPath([...variablesOf(state)].map(([name, value]) => `${name}=${value}`));
}

/** The environment with a PATH when it has none. */
export function withPath(env: readonly string[] = []): readonly string[] {
  return env.some((entry) => entry.startsWith('PATH=')) ? env : [DEFAULT_PATH, ...env];
}

/** The environment with one variable set; a new one comes last. */
export function setVariable(env: readonly string[] = [], name: string, value: string): readonly string[] {
  const names = env.map((entry) => splitVariable(entry)[0]);
  const at = names.indexOf(name);
  return at < 0 ? [...env, `${name}=${value}`] : env.with(at, `${name}=${value}`);
}

function splitVariable(entry: string): readonly [string, string] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}

/** The program that shell forms are given to. */
export function shellOf(config: OciExecutionConfig): readonly string[] {
  return config.Shell ?? ['/bin/sh', '-c'];
}

/** The state with a row of history for an instruction that changed no files. */
export function recordInstruction(state: StageState, row: Instruction): StageState {
  const created = state.createdAt === undefined ? {} : { created: state.createdAt };
  return {
    ...state,
    cacheKey: digestOf(state.cacheKey, row.name, JSON.stringify(state.config)),
    history: [...state.history, { ...created, created_by: `${row.name} ${row.text}`, empty_layer: true }],
  };
}

/** SHA-256 of texts, hex. */
export function digestOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex');
}
