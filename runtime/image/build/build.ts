import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { isTkadmError, TkadmError } from '../../base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';
import { putImage } from '../archive.ts';
import {
  type Dockerfile,
  expandWord,
  type Instruction,
  invalid,
  parseAssignments,
  parseDockerfile,
  type Stage,
  splitWords,
} from '../dockerfile.ts';
import type { Inodes } from '../inodes.ts';
import { MergedTree } from '../merged-tree.ts';
import { MEDIA_TYPES, type OciImageConfig } from '../oci-image.ts';
import { type LayerFile, packFiles, readUpperDir } from '../pack.ts';
import type { ImagePuller } from '../puller.ts';
import type { ImageRecord, ImageStore } from '../store.ts';
import { openContext, readCopy, type SourceTree, treeAsSource } from './copy.ts';
import { findUser } from './user.ts';

/** One RUN: a command over the layers so far, its changes in `upperDir`. */
export interface StepCommand {
  readonly lowerDirs: readonly string[];
  readonly upperDir: string;
  readonly workDir: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: string | undefined;
  readonly onOutput: (text: string) => void;
}

/** Runs a step in a container; resolves to its exit code. */
export type StepRunner = (command: StepCommand) => Promise<number>;

export interface BuildOptions {
  readonly store: ImageStore;
  readonly puller: ImagePuller;
  readonly inodes: Inodes;
  readonly runStep: StepRunner;
  /** Directory for upper directories and the cache, on the store's file system. */
  readonly buildDir: string;
  readonly contextDir: string;
  readonly dockerfile: string;
  readonly tags: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly target?: string | undefined;
  readonly usesCache: boolean;
  readonly architecture: string;
  readonly now: () => Date;
  readonly onProgress: (line: string) => void;
}

type ExecutionConfig = {
  -readonly [K in keyof NonNullable<OciImageConfig['config']>]: NonNullable<OciImageConfig['config']>[K];
} & { Healthcheck?: unknown; Shell?: readonly string[] };

/** A stage while it is built. */
interface StageState {
  /** diffIds, bottom first. */
  layers: string[];
  config: ExecutionConfig;
  history: Record<string, unknown>[];
  /** Digest of everything that led here: the key of the next step's cache entry. */
  cacheKey: string;
  /** ARGs in scope. */
  readonly args: Map<string, string>;
}

/**
 * Builds the image that a Dockerfile describes and gives it its tags; each step that changes files is a
 * layer, taken from the cache when nothing that it depends on has changed.
 * @throws DOCKERFILE_INVALID, IMAGE_BUILD_STEP when a command fails.
 */
export async function buildImage(options: BuildOptions): Promise<ImageRecord> {
  const build = new Build(
    options,
    parseDockerfile(options.dockerfile),
    await openContext(options.contextDir),
  );
  return build.run();
}

class Build {
  readonly #options: BuildOptions;
  readonly #dockerfile: Dockerfile;
  readonly #context: SourceTree;
  readonly #done = new Map<string, StageState>();
  #step = 0;

  constructor(options: BuildOptions, dockerfile: Dockerfile, context: SourceTree) {
    this.#options = options;
    this.#dockerfile = dockerfile;
    this.#context = context;
  }

  async run(): Promise<ImageRecord> {
    const { target } = this.#options;
    const last = target === undefined ? this.#dockerfile.stages.at(-1) : this.#findStage(target);
    if (!last)
      throw new TkadmError(
        'DOCKERFILE_INVALID',
        `Cannot build stage "${target}": the Dockerfile has none of that name`,
      );
    for (const stage of this.#neededStages(last)) {
      const state = await this.#buildStage(stage);
      this.#done.set(String(stage.index), state);
      if (stage.name) this.#done.set(stage.name, state);
    }
    return this.#finish(this.#done.get(String(last.index))!);
  }

  #findStage(name: string): Stage | undefined {
    return this.#dockerfile.stages.find(
      (stage) => stage.name === name.toLowerCase() || String(stage.index) === name,
    );
  }

  /** The stages that the last one is built on or copies from, in order. */
  #neededStages(last: Stage): readonly Stage[] {
    const needed = new Set<Stage>();
    const visit = (stage: Stage) => {
      if (needed.has(stage)) return;
      needed.add(stage);
      const references = [
        stage.from.text.split(/\s+/)[0],
        ...stage.instructions.map((row) => row.flags['from']),
      ];
      for (const reference of references) {
        const other = reference === undefined ? undefined : this.#findStage(reference);
        if (other && other.index < stage.index) visit(other);
      }
    };
    visit(last);
    return this.#dockerfile.stages.filter((stage) => needed.has(stage));
  }

  async #buildStage(stage: Stage): Promise<StageState> {
    const globals = new Map<string, string>();
    for (const row of this.#dockerfile.globalArgs) this.#declareArg(row, globals, globals);
    const state = await this.#startStage(stage, globals);
    for (const instruction of stage.instructions) {
      this.#step += 1;
      this.#options.onProgress(`[${this.#step}] ${instruction.name} ${instruction.text}`);
      await this.#apply(instruction, state, globals);
    }
    return state;
  }

  async #startStage(stage: Stage, globals: ReadonlyMap<string, string>): Promise<StageState> {
    const { from } = stage;
    const reference = expandWord(from.text.split(/\s+/)[0] ?? '', globals);
    this.#options.onProgress(`FROM ${reference}`);
    const earlier = this.#done.get(reference.toLowerCase());
    if (earlier)
      return {
        ...earlier,
        layers: [...earlier.layers],
        config: { ...earlier.config },
        history: [...earlier.history],
        args: new Map(),
      };
    if (from.flags['platform'] && !from.flags['platform'].endsWith(`/${this.#options.architecture}`)) {
      throw invalid(from.line, `--platform=${from.flags['platform']}, but only this machine's is supported`);
    }
    if (reference === 'scratch')
      return { layers: [], config: {}, history: [], cacheKey: 'scratch', args: new Map() };
    const image = await this.#findImage(reference);
    return {
      layers: image.layers.map((layer) => layer.diffId),
      config: { ...image.config.config },
      history: [...(image.config.history ?? [])],
      cacheKey: image.id,
      args: new Map(),
    };
  }

  async #findImage(reference: string): Promise<ImageRecord> {
    return this.#options.store.resolve(reference) ?? (await this.#options.puller.pull(reference));
  }

  async #apply(row: Instruction, state: StageState, globals: ReadonlyMap<string, string>): Promise<void> {
    const variables = this.#variables(state);
    const { config } = state;
    const words = () => splitWords(row.text, row.line).map((word) => expandWord(word, variables));
    const text = () => expandWord(row.text, variables);
    switch (row.name) {
      case 'RUN':
        return this.#run(row, state);
      case 'COPY':
      case 'ADD':
        return this.#copy(row, state, variables);
      case 'ARG':
        this.#declareArg(row, state.args, globals);
        break;
      case 'ENV':
        for (const [name, value] of parseAssignments(row, variables))
          config.Env = setVariable(config.Env, name, value);
        break;
      case 'LABEL':
        config.Labels = { ...config.Labels, ...Object.fromEntries(parseAssignments(row, variables)) };
        break;
      case 'MAINTAINER':
        config.Labels = { ...config.Labels, maintainer: row.text };
        break;
      case 'WORKDIR':
        config.WorkingDir = posix.resolve(config.WorkingDir || '/', text());
        await this.#makeWorkingDir(state);
        break;
      case 'USER':
        config.User = text();
        break;
      case 'EXPOSE':
        config.ExposedPorts = {
          ...config.ExposedPorts,
          ...Object.fromEntries(words().map((port) => [port.includes('/') ? port : `${port}/tcp`, {}])),
        };
        break;
      case 'VOLUME':
        config.Volumes = {
          ...config.Volumes,
          ...Object.fromEntries((row.json ?? words()).map((path) => [path, {}])),
        };
        break;
      case 'CMD':
        config.Cmd = this.#commandForm(row, config);
        break;
      case 'ENTRYPOINT':
        config.Entrypoint = this.#commandForm(row, config);
        delete config.Cmd;
        break;
      case 'SHELL':
        if (!row.json) throw invalid(row.line, 'SHELL in another form than ["program", "argument"]');
        config.Shell = row.json;
        break;
      case 'STOPSIGNAL':
        config.StopSignal = text();
        break;
      case 'HEALTHCHECK':
        config.Healthcheck = parseHealthcheck(row);
        break;
      default:
        throw invalid(row.line, `${row.name}, which is not supported`);
    }
    state.cacheKey = digest(state.cacheKey, row.name, row.text);
    state.history.push(this.#history(row, true));
  }

  /** ARG NAME or NAME=default; a build argument wins; a global ARG gives the default of the same name. */
  #declareArg(row: Instruction, scope: Map<string, string>, globals: ReadonlyMap<string, string>): void {
    for (const word of splitWords(row.text, row.line)) {
      const [, name = '', value] = /^([A-Za-z_]\w*)(?:=([\s\S]*))?$/.exec(word) ?? [];
      if (name === '') throw invalid(row.line, `ARG "${word}"`);
      const given =
        this.#options.buildArgs[name] ?? (value === undefined ? globals.get(name) : expandWord(value, scope));
      if (given !== undefined) scope.set(name, given);
    }
  }

  /** Variables for expansion: ARGs, and ENV, which wins. */
  #variables(state: StageState): ReadonlyMap<string, string> {
    const env = (state.config.Env ?? []).map((entry) => splitVariable(entry));
    return new Map([...state.args, ...env]);
  }

  #commandForm(row: Instruction, config: ExecutionConfig): readonly string[] {
    return row.json ?? [...(config.Shell ?? ['/bin/sh', '-c']), row.text];
  }

  async #run(row: Instruction, state: StageState): Promise<void> {
    const { config } = state;
    const [unsupported] = Object.keys(row.flags);
    if (unsupported) throw invalid(row.line, `RUN --${unsupported}, which is not supported`);
    const shell = config.Shell ?? ['/bin/sh', '-c'];
    const script =
      row.heredocs.length > 0 && /^<<-?["']?\w+["']?$/.test(row.text) ? row.heredocs[0]!.content : row.text;
    const args = row.json ?? [...shell, script];
    const env = [...[...state.args].map(([name, value]) => `${name}=${value}`), ...withPath(config.Env)];
    await this.#layer(
      row,
      state,
      digest(...args, ...env, config.User ?? '', config.WorkingDir ?? ''),
      async (directory) => {
        const upperDir = join(directory, 'upper');
        await mkdir(upperDir, { recursive: true });
        await mkdir(join(directory, 'work'), { recursive: true });
        const exitCode = await this.#options.runStep({
          lowerDirs: await this.#lowerDirs(state),
          upperDir,
          workDir: join(directory, 'work'),
          args,
          env,
          cwd: config.WorkingDir || '/',
          user: config.User,
          onOutput: this.#options.onProgress,
        });
        if (exitCode !== 0) {
          throw new TkadmError(
            'IMAGE_BUILD_STEP',
            `Cannot build line ${row.line}, RUN ${row.text}: exit code ${exitCode}`,
          );
        }
        return readUpperDir(upperDir, this.#options.inodes);
      },
    );
  }

  async #copy(row: Instruction, state: StageState, variables: ReadonlyMap<string, string>): Promise<void> {
    const unsupported = Object.keys(row.flags).find(
      (flag) => !['from', 'chown', 'chmod', 'link'].includes(flag),
    );
    if (unsupported) throw invalid(row.line, `${row.name} --${unsupported}, which is not supported`);
    const words = row.json ?? splitWords(row.text, row.line).map((word) => expandWord(word, variables));
    if (words.length < 2) throw invalid(row.line, `${row.name} without a target`);
    const from = words.slice(0, -1);
    const url = from.find((word) => /^(https?|git):\/\//.test(word));
    if (url) throw invalid(row.line, `ADD of "${url}": addresses are not supported`);
    const last = words.at(-1)!;
    const absolute = posix.resolve('/', state.config.WorkingDir || '/', last);
    const target = await this.#tree(state);
    const request = {
      instruction: row,
      source: await this.#source(row.flags['from']),
      target,
      from,
      to: /\/$|(^|\/)\.$/.test(last) ? `${absolute.replace(/\/$/, '')}/` : absolute,
      owner: row.flags['chown']
        ? await findUser(target, expandWord(row.flags['chown'], variables), row.line)
        : undefined,
      mode: row.flags['chmod'] ? Number.parseInt(row.flags['chmod'], 8) : undefined,
      unpacksArchives: row.name === 'ADD',
      now: this.#options.now(),
    };
    const content = createHash('sha256');
    for await (const file of readCopy(request)) await hashFile(content, file);
    await this.#layer(row, state, content.digest('hex'), async () => readCopy(request));
  }

  async #source(from: string | undefined): Promise<SourceTree> {
    if (from === undefined) return this.#context;
    const stage = this.#done.get(from.toLowerCase());
    if (stage) return treeAsSource(await this.#tree(stage));
    const image = await this.#findImage(from);
    return treeAsSource(new MergedTree(this.#options.store.lowerDirs(image), this.#options.inodes));
  }

  async #makeWorkingDir(state: StageState): Promise<void> {
    const path = state.config.WorkingDir ?? '/';
    const tree = await this.#tree(state);
    if (await tree.lookup(path)) return;
    const now = this.#options.now();
    const parts = path.split('/').filter(Boolean);
    const files = async function* (): AsyncGenerator<LayerFile> {
      for (let depth = 1; depth <= parts.length; depth += 1) {
        const name = parts.slice(0, depth).join('/');
        if (await tree.lookup(`/${name}`)) continue;
        yield { name, stats: { mode: 0o755, uid: 0, gid: 0, mtime: now }, content: { kind: 'directory' } };
      }
    };
    const layer = await this.#options.store.importLayer(packFiles(files()));
    state.layers.push(layer.diffId);
    state.history.push({ created: now.toISOString(), created_by: `WORKDIR ${path}` });
  }

  /** Adds a layer for an instruction, from the cache or by `make`. */
  async #layer(
    row: Instruction,
    state: StageState,
    content: string,
    make: (directory: string) => Promise<AsyncIterable<LayerFile>>,
  ): Promise<void> {
    const { store, buildDir, usesCache, onProgress } = this.#options;
    const key = digest(state.cacheKey, row.name, row.text, content);
    const cachePath = join(buildDir, 'cache', key);
    const cached = usesCache ? (await readFileIfExists(cachePath))?.trim() : undefined;
    if (cached && (await store.layer(cached))) {
      onProgress('  from the cache');
      state.layers.push(cached);
    } else {
      const directory = join(buildDir, `step-${randomBytes(6).toString('hex')}`);
      try {
        const layer = await store.importLayer(packFiles(await make(directory)));
        state.layers.push(layer.diffId);
        await writeFileAtomic(cachePath, layer.diffId, { sync: false });
      } catch (error) {
        if (isTkadmError(error)) throw error;
        throw new TkadmError(
          'IMAGE_BUILD_STEP',
          `Cannot build line ${row.line}, ${row.name} ${row.text}: ${(error as Error).message}`,
          { cause: error },
        );
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    }
    state.cacheKey = key;
    state.history.push(this.#history(row, false));
  }

  #history(row: Instruction, isEmpty: boolean): Record<string, unknown> {
    return {
      created: this.#options.now().toISOString(),
      created_by: `${row.name} ${row.text}`,
      ...(isEmpty ? { empty_layer: true } : {}),
    };
  }

  async #lowerDirs(state: StageState): Promise<readonly string[]> {
    return this.#options.store.lowerDirsOf(state.layers);
  }

  async #tree(state: StageState): Promise<MergedTree> {
    return new MergedTree(await this.#lowerDirs(state), this.#options.inodes);
  }

  async #finish(state: StageState): Promise<ImageRecord> {
    const { store, tags, architecture, now } = this.#options;
    const config: OciImageConfig = {
      architecture,
      os: 'linux',
      created: now().toISOString(),
      config: { ...state.config, Env: withPath(state.config.Env) },
      rootfs: { type: 'layers', diff_ids: state.layers },
      history: state.history,
    };
    const layers = await Promise.all(
      state.layers.map(async (diffId) => ({
        mediaType: MEDIA_TYPES.layerTar,
        digest: diffId,
        size: (await store.layer(diffId))?.sizeBytes ?? 0,
      })),
    );
    return putImage(store, { config: Buffer.from(JSON.stringify(config)), layers, names: tags });
  }
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function withPath(env: readonly string[] = []): readonly string[] {
  return env.some((entry) => entry.startsWith('PATH=')) ? env : [DEFAULT_PATH, ...env];
}

function setVariable(env: readonly string[] = [], name: string, value: string): readonly string[] {
  return [...env.filter((entry) => splitVariable(entry)[0] !== name), `${name}=${value}`];
}

function splitVariable(entry: string): readonly [string, string] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}

function parseHealthcheck(row: Instruction): unknown {
  if (/^NONE$/i.test(row.text)) return { Test: ['NONE'] };
  const command = row.text.replace(/^CMD\s+/i, '');
  const json = command.startsWith('[') ? (JSON.parse(command) as string[]) : undefined;
  return { Test: json ? ['CMD', ...json] : ['CMD-SHELL', command], ...row.flags };
}

async function hashFile(hash: ReturnType<typeof createHash>, file: LayerFile): Promise<void> {
  const { name, stats, content } = file;
  hash.update(`${name}\0${stats.mode}\0${stats.uid}\0${stats.gid}\0${content.kind}\0`);
  if (content.kind === 'bytes') hash.update(content.bytes);
  else if (content.kind === 'file')
    for await (const chunk of createReadStream(content.hostPath)) hash.update(chunk as Buffer);
  else if (content.kind !== 'directory') hash.update(content.target);
}

function digest(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex');
}
