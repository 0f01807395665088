import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { StorageDriver } from '../container-files.ts';
import { type Instruction, invalid } from '../dockerfile.ts';
import { expandWord, type Variables } from '../dockerfile-words.ts';
import type { Inodes } from '../inodes.ts';
import { buildMergedMount } from '../merged-mount.ts';
import { digestCopy } from './copy-step.ts';
import type { StepMount } from './options.ts';
import type { SourceTree } from './source-tree.ts';

/** What the mounts of a RUN need from the build. */
export interface MountPlaces {
  readonly variables: Variables;
  /** The working directory, to which targets are relative. */
  readonly cwd: string;
  /** The build context, or the stage or image of that name. */
  readonly source: (from: string | undefined) => Promise<SourceTree>;
  readonly storageDriver: StorageDriver;
  readonly inodes: Inodes;
  /** For copies that a mount shows. */
  readonly workDir: string;
  readonly mountCacheDir: string;
  readonly secretsDir: string;
  readonly secrets: Readonly<Record<string, Buffer>>;
  readonly cacheLocks: CacheLocks;
}

export interface PreparedMounts {
  readonly mounts: readonly StepMount[];
  /** "NAME=value" of secrets that are given as variables. */
  readonly env: readonly string[];
  /** Digest of what the mounts show of files, for the step's cache. */
  readonly content: string;
  /** Removes secrets, lets go of locked caches. */
  release(): Promise<void>;
}

type Fields = ReadonlyMap<string, string>;

/** The fields of each type (Dockerfile reference, "RUN --mount"); others are refused by name. */
const MOUNT_FIELDS: Readonly<Record<string, readonly string[]>> = {
  bind: ['target', 'source', 'from', 'readonly'],
  cache: ['target', 'id', 'sharing', 'mode', 'uid', 'gid'],
  tmpfs: ['target', 'size'],
  secret: ['target', 'id', 'required', 'mode', 'uid', 'gid', 'env'],
};

const ALIASES: Readonly<Record<string, string>> = {
  dst: 'target',
  destination: 'target',
  src: 'source',
  ro: 'readonly',
};

/**
 * The mounts of a RUN, ready for its container.
 * @throws DOCKERFILE_INVALID for a type or field that is not supported, or a secret that was not given.
 */
export async function prepareMounts(row: Instruction, places: MountPlaces): Promise<PreparedMounts> {
  const prepared: PreparedMounts[] = [];
  const release = async () => {
    for (const one of prepared) await one.release();
  };
  try {
    for (const text of row.lists.mount ?? []) {
      const fields = parseMount(row, text, places.variables);
      prepared.push(await MOUNT_TYPES[fields.get('type')!]!(row, fields, places));
    }
  } catch (error) {
    await release();
    throw error;
  }
  return {
    mounts: prepared.flatMap(({ mounts }) => mounts),
    env: prepared.flatMap(({ env }) => env),
    content: prepared.map(({ content }) => content).join('\0'),
    release,
  };
}

function parseMount(row: Instruction, text: string, variables: Variables): Fields {
  const fields = new Map<string, string>([['type', 'bind']]);
  for (const part of text.split(',')) {
    const at = part.indexOf('=');
    const key = at < 0 ? part : part.slice(0, at);
    fields.set(ALIASES[key] ?? key, at < 0 ? 'true' : expandWord(part.slice(at + 1), variables));
  }
  const type = fields.get('type')!;
  const known = MOUNT_FIELDS[type];
  if (known === undefined) throw invalid(row.line, `RUN --mount=type=${type}, which is not supported`);
  for (const key of fields.keys()) {
    if (key === 'type' || known.includes(key)) continue;
    throw invalid(row.line, `"${key}" in RUN --mount=type=${type}, which is not supported`);
  }
  return fields;
}

/** The stages or images that the mounts of a RUN name. */
export function mountSources({ lists }: Instruction): readonly string[] {
  return (lists.mount ?? []).flatMap((text) => /(?:^|,)from=([^,]+)/.exec(text)?.[1] ?? []);
}

type MountType = (row: Instruction, fields: Fields, places: MountPlaces) => Promise<PreparedMounts>;

const MOUNT_TYPES: Readonly<Record<string, MountType>> = {
  bind: prepareBind,
  cache: prepareCache,
  tmpfs: async (row, fields, places) => {
    const size = fields.get('size');
    if (size !== undefined && !/^\d+[kmg]?$/i.test(size))
      throw invalid(row.line, `size=${size} in RUN --mount`);
    const options = ['nosuid', 'nodev', ...(size === undefined ? [] : [`size=${size}`])];
    return only({ type: 'tmpfs', source: 'tmpfs', destination: targetOf(row, fields, places), options });
  },
  secret: prepareSecret,
};

const NOTHING = { mounts: [], env: [], content: '', release: async () => {} } as const;

function only(mount: StepMount, content = ''): PreparedMounts {
  return { ...NOTHING, mounts: [mount], content };
}

function targetOf(row: Instruction, fields: Fields, { cwd }: MountPlaces, usual?: string): string {
  const target = fields.get('target') ?? usual;
  if (target === undefined) throw invalid(row.line, 'RUN --mount without a target');
  const path = posix.resolve(cwd, target);
  if (path === '/') throw invalid(row.line, 'RUN --mount with the target "/"');
  return path;
}

/** Files of the context, a stage or an image, read-only. */
async function prepareBind(row: Instruction, fields: Fields, places: MountPlaces): Promise<PreparedMounts> {
  if (fields.get('readonly') === 'false') throw invalid(row.line, 'readonly=false in RUN --mount=type=bind');
  const tree = await places.source(fields.get('from'));
  const path = fields.get('source') ?? '/';
  const entry = await tree.lookup(path, true);
  if (!entry) throw invalid(row.line, `RUN --mount of "${path}", which is not there`);
  const destination = targetOf(row, fields, places);
  const content = await digestCopy({
    instruction: row,
    source: tree,
    target: undefined,
    from: [path],
    to: '/x/',
    owner: undefined,
    mode: undefined,
    unpacksArchives: false,
    variables: places.variables,
    now: new Date(0),
  });
  const { storageDriver: driver, inodes } = places;
  const copyDir = join(places.workDir, `mount-${randomBytes(6).toString('hex')}`);
  const release = async () => rm(copyDir, { recursive: true, force: true });
  try {
    const mount = await buildMergedMount(entry, { driver, copyDir, inodes });
    const options = [...mount.options, 'nosuid', 'nodev'];
    return { ...only({ ...mount, destination, options }, content), release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** A directory that builds share. `sharing=locked`: one step at a time. */
async function prepareCache(row: Instruction, fields: Fields, places: MountPlaces): Promise<PreparedMounts> {
  const destination = targetOf(row, fields, places);
  const id = fields.get('id') ?? destination;
  const sharing = fields.get('sharing') ?? 'shared';
  if (sharing !== 'shared' && sharing !== 'locked') {
    throw invalid(row.line, `sharing=${sharing} in RUN --mount=type=cache, which is not supported`);
  }
  const source = join(places.mountCacheDir, createHash('sha256').update(id).digest('hex'));
  const release = sharing === 'locked' ? await places.cacheLocks.acquire(source) : NOTHING.release;
  if (await mkdir(source, { recursive: true })) {
    const { mode, uid, gid } = ownership(row, fields, 0o755);
    await chown(source, uid, gid);
    await chmod(source, mode);
  }
  return { ...only({ type: 'bind', source, destination, options: ['rbind', 'nosuid', 'nodev'] }), release };
}

/** A file in memory for as long as the step runs; its content counts neither for the cache nor for the image. */
async function prepareSecret(row: Instruction, fields: Fields, places: MountPlaces): Promise<PreparedMounts> {
  const target = fields.get('target');
  const id = fields.get('id') ?? (target && posix.basename(target));
  if (id === undefined) throw invalid(row.line, 'RUN --mount=type=secret without an id');
  const secret = Object.hasOwn(places.secrets, id) ? places.secrets[id] : undefined;
  if (secret === undefined) {
    if (fields.get('required') === 'true')
      throw invalid(row.line, `a secret "${id}" that --secret did not give`);
    return NOTHING;
  }
  const variable = fields.get('env');
  const env = variable === undefined ? [] : [`${variable}=${secret.toString('utf8')}`];
  if (variable !== undefined && target === undefined) return { ...NOTHING, env };
  const source = join(places.secretsDir, createHash('sha256').update(`${row.line} ${id}`).digest('hex'));
  const { mode, uid, gid } = ownership(row, fields, 0o400);
  await mkdir(places.secretsDir, { recursive: true, mode: 0o700 });
  await writeFile(source, secret, { mode: 0o600 });
  await chown(source, uid, gid);
  await chmod(source, mode);
  const destination = targetOf(row, fields, places, `/run/secrets/${id}`);
  const options = ['bind', 'ro', 'nosuid', 'nodev', 'noexec'];
  const release = async () => rm(source, { force: true });
  return { ...only({ type: 'bind', source, destination, options }), env, release };
}

function ownership(row: Instruction, fields: Fields, usualMode: number) {
  const number = (key: string, pattern: RegExp, base: number, usual: number) => {
    const text = fields.get(key);
    if (text === undefined) return usual;
    if (!pattern.test(text)) throw invalid(row.line, `${key}=${text} in RUN --mount`);
    return Number.parseInt(text, base);
  };
  return {
    mode: number('mode', /^[0-7]{3,4}$/, 8, usualMode),
    uid: number('uid', /^\d+$/, 10, 0),
    gid: number('gid', /^\d+$/, 10, 0),
  };
}

/** Caches that one step at a time may use, over all builds of a runtime. */
export class CacheLocks {
  readonly #last = new Map<string, Promise<void>>();

  /** Waits for those before; returns how the lock is given back. */
  async acquire(path: string): Promise<() => Promise<void>> {
    const before = this.#last.get(path) ?? Promise.resolve();
    let open = () => {};
    const mine = new Promise<void>((resolve) => {
      open = resolve;
    });
    const chain = before.then(() => mine);
    this.#last.set(path, chain);
    await before;
    return async () => {
      open();
      if (this.#last.get(path) === chain) this.#last.delete(path);
    };
  }
}
