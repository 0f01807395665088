import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { EMBEDDED_IMAGE_REPOSITORY } from '../../base/paths.ts';
import { layerDescriptor, putImage } from '../archive.ts';
import {
  type Dockerfile,
  type Instruction,
  invalid,
  parseDockerfile,
  parseTrigger,
  type Stage,
} from '../dockerfile.ts';
import { expandWord, type Variables } from '../dockerfile-words.ts';
import { MergedTree } from '../merged-tree.ts';
import type { OciImageConfig } from '../oci-image.ts';
import { parseReference } from '../reference.ts';
import type { ImageRecord } from '../store.ts';
import { type AddedFile, fetchAddress, isAddress } from './add-address.ts';
import { argumentNames, declareArgs, isProxyArg, platformArgs } from './arguments.ts';
import { applyConfigInstruction } from './config-instructions.ts';
import { readCopy } from './copy.ts';
import { copyWords, digestCopy, planCopy } from './copy-step.ts';
import { addLayer, type LayerStep } from './layer-step.ts';
import type { BuildOptions } from './options.ts';
import { buildRunStep } from './run-step.ts';
import { openContext, SourceTree } from './source-tree.ts';
import { recordInstruction, SCRATCH, type StageState, variablesOf, withPath } from './state.ts';
import { mountSources, prepareMounts } from './step-mounts.ts';
import { planDirectory } from './workdir-step.ts';

/**
 * Builds the image that a Dockerfile describes and gives it its tags; each step that changes files is a
 * layer, taken from the cache when nothing that it depends on has changed.
 * @throws DOCKERFILE_INVALID, IMAGE_BUILD_STEP when a command fails.
 */
export async function buildImage(options: BuildOptions): Promise<ImageRecord> {
  const dockerfile = parseDockerfile(options.dockerfile);
  const context = await openContext(options.contextDir, options.inodes, options.ignoreFile);
  const build = new Build(options, dockerfile, context);
  try {
    return await build.run();
  } finally {
    await build.close();
  }
}

class Build {
  readonly #options: BuildOptions;
  readonly #dockerfile: Dockerfile;
  readonly #context: SourceTree;
  readonly #globals: Variables;
  /** By name and by index. */
  readonly #stages = new Map<string, StageState>();
  /** The name under which the store keeps the layers in use. */
  readonly #owner = `build-${randomBytes(8).toString('hex')}`;
  readonly #held = new Set<string>();
  #count = 0;

  constructor(options: BuildOptions, dockerfile: Dockerfile, context: SourceTree) {
    this.#options = options;
    this.#dockerfile = dockerfile;
    this.#context = context;
    this.#globals = dockerfile.globalArgs.reduce(
      (scope, row) => declareArgs(row, { scope, globals: new Map(), given: options.buildArgs }),
      platformArgs(options.architecture),
    );
  }

  async run(): Promise<ImageRecord> {
    const last = this.#lastStage();
    const declared = argumentNames(this.#dockerfile);
    for (const name of Object.keys(this.#options.buildArgs)) {
      if (!declared.has(name) && !isProxyArg(name))
        this.#options.onProgress(`warning: no ARG "${name}" in the Dockerfile`);
    }
    for (const stage of this.#neededStages(last)) {
      const state = await this.#buildStage(stage);
      this.#stages.set(String(stage.index), state);
      if (stage.name) this.#stages.set(stage.name, state);
    }
    return this.#finish(this.#stages.get(String(last.index))!);
  }

  /** Lets go of the layers. */
  async close(): Promise<void> {
    await rm(join(this.#options.secretsDir, this.#owner), { recursive: true, force: true });
    await this.#options.store.release(this.#owner);
  }

  #lastStage(): Stage {
    const { target } = this.#options;
    const last = target === undefined ? this.#dockerfile.stages.at(-1) : this.#findStage(target);
    if (last) return last;
    throw new TkadmError(
      'DOCKERFILE_INVALID',
      `Cannot build stage "${target}": the Dockerfile has none of that name`,
    );
  }

  #findStage(name: string): Stage | undefined {
    return this.#dockerfile.stages.findLast(
      (stage) => stage.name === name.toLowerCase() || String(stage.index) === name,
    );
  }

  /** The stages that the last one is built on or copies from, in order. */
  #neededStages(last: Stage): readonly Stage[] {
    const needed = new Set<Stage>();
    const visit = (stage: Stage) => {
      if (needed.has(stage)) return;
      needed.add(stage);
      const copied = stage.instructions.flatMap((row) => [row.flags['from'] ?? [], mountSources(row)].flat());
      for (const name of [this.#baseName(stage), ...copied]) {
        const other = this.#findStage(name);
        if (other && other.index < stage.index) visit(other);
      }
    };
    visit(last);
    return this.#dockerfile.stages.filter((stage) => needed.has(stage));
  }

  #baseName({ from }: Stage): string {
    return expandWord(from.text.split(/\s+/)[0] ?? '', this.#globals);
  }

  async #buildStage(stage: Stage): Promise<StageState> {
    this.#options.onProgress(`FROM ${stage.from.text}`);
    let state = await this.#startStage(stage);
    for (const row of stage.instructions) state = await this.#step(row, state);
    return state;
  }

  async #startStage(stage: Stage): Promise<StageState> {
    const { line, flags } = stage.from;
    const name = this.#baseName(stage);
    if (name === '') throw invalid(line, `FROM "${stage.from.text}", which is empty`);
    const earlier = this.#stages.get(name.toLowerCase());
    if (earlier) return this.#trigger(earlier, line);
    const platform = expandWord(flags['platform'] ?? '', this.#globals);
    if (platform !== '' && platform !== `linux/${this.#options.architecture}`) {
      throw invalid(line, `--platform=${platform}, but only this machine's is supported`);
    }
    if (name === 'scratch') return SCRATCH;
    const image = await this.#findImage(name);
    if (image.layers.some((layer) => layer.directory !== undefined)) {
      throw invalid(line, `FROM "${name}", whose files belong to the node bundle`);
    }
    const layers = image.layers.map((layer) => layer.diffId);
    this.#hold(layers);
    const state: StageState = {
      ...SCRATCH,
      layers,
      config: image.config.config ?? {},
      history: image.config.history ?? [],
      createdAt: image.config.created,
      cacheKey: image.id,
    };
    return this.#trigger(state, line);
  }

  /** Applies the ONBUILD instructions that the base has for what is built on it, and on nothing built on that. */
  async #trigger(base: StageState, line: number): Promise<StageState> {
    const { OnBuild: triggers, ...config } = base.config;
    let state: StageState = { ...base, config };
    for (const text of triggers ?? []) state = await this.#step(parseTrigger(text, line), state);
    return state;
  }

  async #step(row: Instruction, state: StageState): Promise<StageState> {
    this.#options.signal?.throwIfAborted();
    this.#count += 1;
    this.#options.onProgress(`[${this.#count}] ${row.name} ${row.text}`);
    return this.#apply(row, state);
  }

  async #findImage(reference: string): Promise<ImageRecord> {
    const { store, puller, signal, pullsAlways } = this.#options;
    const present = store.resolve(reference);
    const isEmbedded = parseReference(reference).registry === EMBEDDED_IMAGE_REPOSITORY;
    if (present && (!pullsAlways || isEmbedded)) return present;
    return puller.pull(reference, { signal });
  }

  async #apply(row: Instruction, state: StageState): Promise<StageState> {
    switch (row.name) {
      case 'RUN':
        return this.#run(row, state);
      case 'COPY':
      case 'ADD':
        return this.#copy(row, state);
      case 'WORKDIR':
        return this.#changeDirectory(row, state);
      case 'ARG':
        return this.#declareArgs(row, state);
      default:
        return recordInstruction(applyConfigInstruction(row, state, variablesOf(state)), row);
    }
  }

  #declareArgs(row: Instruction, state: StageState): StageState {
    const scopes = { scope: state.args, globals: this.#globals, given: this.#options.buildArgs };
    return recordInstruction({ ...state, args: declareArgs(row, scopes) }, row);
  }

  async #run(row: Instruction, state: StageState): Promise<StageState> {
    const { mountCacheDir, secretsDir, secrets, cacheLocks, storageDriver, inodes, workDir } = this.#options;
    const mounts = await prepareMounts(row, {
      variables: variablesOf(state),
      cwd: state.config.WorkingDir || '/',
      source: (from) => this.#source(from),
      storageDriver,
      inodes,
      workDir,
      mountCacheDir,
      secretsDir: join(secretsDir, this.#owner),
      secrets,
      cacheLocks,
    });
    try {
      return await this.#addLayer({ row, state, ...buildRunStep(row, state, { ...this.#options, mounts }) });
    } finally {
      await mounts.release();
    }
  }

  async #copy(row: Instruction, state: StageState): Promise<StageState> {
    const directory = join(this.#options.workDir, `add-${randomBytes(6).toString('hex')}`);
    try {
      const added = await this.#fetchAddresses(row, state, directory);
      const source = await this.#source(row.flags['from']);
      const places = { state, source, target: this.#tree(state), now: this.#options.now(), added };
      const request = await planCopy(row, places);
      const content = await digestCopy(request);
      return await this.#addLayer({ row, state, content, make: async () => readCopy(request) });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  /** The files of an ADD's addresses. */
  async #fetchAddresses(row: Instruction, state: StageState, directory: string) {
    const added = new Map<string, AddedFile>();
    if (row.name !== 'ADD') return added;
    const addresses = copyWords(row, state)
      .slice(0, -1)
      .filter((word) => isAddress(word, row));
    const { checksum } = row.flags;
    if (checksum !== undefined && addresses.length !== 1) {
      throw invalid(row.line, 'ADD --checksum with another number of addresses than one');
    }
    for (const [index, address] of addresses.entries()) {
      this.#options.onProgress(`  fetching ${address}`);
      const options = { directory: join(directory, String(index)), checksum, signal: this.#options.signal };
      added.set(address, await fetchAddress(row, address, options));
    }
    return added;
  }

  /** The build context, or the stage or image of that name. */
  async #source(from: string | undefined): Promise<SourceTree> {
    if (from === undefined) return this.#context;
    const stage = this.#stages.get(from.toLowerCase());
    if (stage) return new SourceTree(this.#tree(stage));
    const { store, inodes } = this.#options;
    return new SourceTree(new MergedTree(store.lowerDirs(await this.#findImage(from)), inodes));
  }

  /** WORKDIR: makes the directories that are not there. */
  async #changeDirectory(row: Instruction, state: StageState): Promise<StageState> {
    const { path, files } = await planDirectory(row, state, this.#tree(state), this.#options.now());
    const changed = { ...state, config: { ...state.config, WorkingDir: path } };
    if (files === undefined) return recordInstruction(changed, row);
    return this.#addLayer({ row, state: changed, content: path, make: async () => files });
  }

  async #addLayer(step: LayerStep): Promise<StageState> {
    return addLayer(step, this.#options, { hold: (layers) => this.#hold(layers) });
  }

  #hold(layers: readonly string[]): void {
    for (const directory of this.#options.store.lowerDirsOf(layers)) this.#held.add(directory);
    this.#options.store.retain(this.#owner, [...this.#held]);
  }

  #tree(state: StageState): MergedTree {
    return new MergedTree(this.#options.store.lowerDirsOf(state.layers), this.#options.inodes);
  }

  async #finish(state: StageState): Promise<ImageRecord> {
    const { store, tags, architecture } = this.#options;
    const config: OciImageConfig = {
      architecture,
      os: 'linux',
      ...(state.createdAt === undefined ? {} : { created: state.createdAt }),
      config: { ...state.config, Env: withPath(state.config.Env) },
      rootfs: { type: 'layers', diff_ids: state.layers },
      history: state.history,
    };
    const records = await Promise.all(state.layers.map((diffId) => store.layer(diffId)));
    const layers = records.filter((record) => record !== undefined).map(layerDescriptor);
    return putImage(store, { config: Buffer.from(JSON.stringify(config)), layers, names: tags });
  }
}
