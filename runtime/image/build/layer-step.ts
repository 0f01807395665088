import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError, isTkadmError, TkadmError } from '../../base/errors.ts';
import type { Instruction } from '../dockerfile.ts';
import { type LayerFile, packFiles } from '../pack.ts';
import type { CachedStep } from './cache.ts';
import type { BuildOptions } from './options.ts';
import { digestOf, type StageState } from './state.ts';

export interface LayerStep {
  readonly row: Instruction;
  readonly state: StageState;
  /** Digest of what the step's files depend on, besides everything before it. */
  readonly content: string;
  /** The files; `directory` is there for the step alone and removed after it. */
  readonly make: (directory: string) => Promise<AsyncIterable<LayerFile>>;
}

/** Names a build's layers in the store, so that they stay while it runs. */
export interface LayerHolder {
  hold(layers: readonly string[]): void;
}

/**
 * The state with one more layer, from the cache or by `make`.
 * @throws IMAGE_BUILD_STEP with the line.
 */
export async function addLayer(
  step: LayerStep,
  options: BuildOptions,
  holder: LayerHolder,
): Promise<StageState> {
  const { row, state } = step;
  const cacheKey = digestOf(state.cacheKey, row.name, row.text, step.content);
  const cached = options.usesCache ? await options.cache.get(cacheKey) : undefined;
  if (cached) {
    // Held before it is looked for: a removal may be under way.
    holder.hold([...state.layers, cached.diffId]);
  }
  const isThere = cached !== undefined && (await options.store.layer(cached.diffId)) !== undefined;
  if (isThere) options.onProgress('  from the cache');
  const { diffId, createdAt } = isThere ? cached : await makeLayer(step, options);
  const layers = [...state.layers, diffId];
  holder.hold(layers);
  if (!isThere) await options.cache.put(cacheKey, { diffId, createdAt });
  const history = [...state.history, { created: createdAt, created_by: `${row.name} ${row.text}` }];
  return { ...state, layers, history, createdAt, cacheKey };
}

async function makeLayer({ row, make }: LayerStep, options: BuildOptions): Promise<CachedStep> {
  const directory = join(options.workDir, `step-${randomBytes(6).toString('hex')}`);
  try {
    await mkdir(directory, { recursive: true });
    const { diffId } = await options.store.importLayer(packFiles(await make(directory)));
    return { diffId, createdAt: options.now().toISOString() };
  } catch (error) {
    if (isTkadmError(error, 'DOCKERFILE_INVALID') || isTkadmError(error, 'IMAGE_BUILD_STEP')) throw error;
    throw new TkadmError(
      'IMAGE_BUILD_STEP',
      `Cannot build line ${row.line}, ${row.name} ${row.text}: ${formatError(error)}`,
      { cause: error },
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
