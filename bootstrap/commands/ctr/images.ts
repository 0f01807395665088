import { isAbsolute, join, resolve } from 'node:path';
import { TkadmError } from '../../../runtime/base/errors.ts';
import { writeFileAtomic } from '../../../runtime/base/files.ts';
import type { ImageDetails } from '../../../runtime/cri/image-messages.ts';
import type { CliContext } from '../context.ts';
import { loadImages, runImageSave } from '../image-archive.ts';
import { buildImage } from '../image-build.ts';
import { readRegistryAuth } from '../registry-auth.ts';
import { ctr, forEach, image } from './call.ts';
import {
  applyFilters,
  type Column,
  type FilterTable,
  hasLabel,
  type ListFlags,
  printRows,
  type Row,
} from './print-rows.ts';
import { checkPlatform } from './run-options.ts';
import { familiarName, formatAge, formatBytes, shortId } from './units.ts';

export interface ImagesFlags extends ListFlags {
  readonly all?: boolean;
  readonly digests?: boolean;
  readonly filter?: readonly string[];
  readonly trunc: boolean;
}

const COLUMNS: readonly Column[] = [
  ['REPOSITORY', 'Repository'],
  ['TAG', 'Tag'],
  ['IMAGE ID', 'ID'],
  ['CREATED', 'CreatedSince'],
  ['SIZE', 'Size'],
];

const FILTERS: FilterTable<ImageDetails> = {
  dangling: ({ repoTags }, value) => (repoTags.length === 0) === (value === 'true'),
  label: ({ config }, value) => hasLabel(config.config?.Labels ?? {}, value),
  reference: ({ repoTags }, value) => repoTags.some((tag) => matchesReference(tag, value)),
};

async function listDetails(context: CliContext): Promise<readonly ImageDetails[]> {
  const all = await image(context, 'list');
  const details = await Promise.all(all.map(({ id }) => image(context, 'inspect', { name: id })));
  return details.toSorted((a, b) => (b.config.created ?? '').localeCompare(a.config.created ?? ''));
}

/** `tkadm ctr images [NAME]`: a row for each name. */
export async function runImages(
  context: CliContext,
  flags: ImagesFlags,
  name: string | undefined,
): Promise<void> {
  const filters = [...(flags.filter ?? []), ...(name === undefined ? [] : [`reference=${name}`])];
  const images = applyFilters(await listDetails(context), FILTERS, filters);
  const rows = images.flatMap((row) => describe(row, flags.trunc, context.now()));
  const columns: readonly Column[] = flags.digests
    ? [...COLUMNS.slice(0, 2), ['DIGEST', 'Digest'], ...COLUMNS.slice(2)]
    : COLUMNS;
  printRows(context, { ...flags, rows, columns, idField: 'ID', otherFields: ['Digest', 'CreatedAt'] });
}

function describe(details: ImageDetails, trunc: boolean, now: Date): readonly Row[] {
  const { id, repoTags, repoDigests, sizeBytes, config } = details;
  const created = config.created;
  return (repoTags.length > 0 ? repoTags : ['<none>:<none>']).map((tag) => {
    const colon = tag.lastIndexOf(':');
    return {
      Repository: familiarName(tag.slice(0, colon)),
      Tag: tag.slice(colon + 1),
      ID: trunc ? shortId(id) : id,
      Digest: repoDigests[0]?.split('@')[1] ?? '<none>',
      CreatedAt: created ?? 'N/A',
      CreatedSince: created === undefined ? 'N/A' : `${formatAge(created, now)} ago`,
      Size: formatBytes(sizeBytes, 1000),
    };
  });
}

/** "busybox", "busybox:1", "shop/*" against a full name. */
function matchesReference(tag: string, pattern: string): boolean {
  const name = familiarName(tag);
  const wanted = new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*')}$`);
  return [tag, name, name.replace(/:[^:/]*$/, '')].some((text) => wanted.test(text));
}

/** `tkadm ctr pull NAME` */
export async function runPull(
  context: CliContext,
  flags: { readonly platform?: string; readonly quiet?: boolean },
  name: string,
): Promise<void> {
  checkPlatform(flags.platform);
  const auth = await readRegistryAuth(context, name, undefined);
  const request = { body: { name, plainHttp: false, auth } };
  const pulled = await image(context, 'pull', { ...request, ...(flags.quiet && { onProgress: () => {} }) });
  context.write(`${pulled.repoTags[0] ?? pulled.repoDigests[0] ?? pulled.id}\n`);
}

/** `tkadm ctr push NAME` */
export async function runPush(
  context: CliContext,
  flags: { readonly quiet?: boolean },
  name: string,
): Promise<void> {
  const auth = await readRegistryAuth(context, name, undefined);
  const request = { body: { name, plainHttp: false, auth } };
  const pushed = await image(context, 'push', { ...request, ...(flags.quiet && { onProgress: () => {} }) });
  context.write(`${pushed.name}@${pushed.digest}\n`);
}

/** `tkadm ctr tag` */
export async function runTag(context: CliContext, source: string, target: string): Promise<void> {
  await image(context, 'tag', { body: { source, target } });
}

/** `tkadm ctr rmi`: an image that a container has stays, unless forced. */
export async function runRmi(
  context: CliContext,
  { force }: { readonly force?: boolean },
  names: readonly string[],
): Promise<number> {
  return forEach(context, names, async (name) => {
    const details = await image(context, 'inspect', { name });
    const users = (await ctr(context, 'list', {})).filter(({ imageId }) => imageId === details.id);
    const isLast =
      details.repoTags.length <= 1 ||
      details.id.replace('sha256:', '').startsWith(name.replace('sha256:', ''));
    if (users.length > 0 && isLast && !force) {
      throw new TkadmError(
        'CTR_CONFLICT',
        `Cannot remove image "${name}": container ${users[0]!.name} has it`,
        {
          hint: `tkadm ctr rm ${users.map((user) => user.name).join(' ')}`,
        },
      );
    }
    const { id } = await image(context, 'remove', { name });
    const tags = isLast ? details.repoTags.map(familiarName) : [familiarName(name)];
    return [...tags.map((tag) => `Untagged: ${tag}`), ...(isLast ? [`Deleted: ${id}`] : [])].join('\n');
  });
}

/** `tkadm ctr save -o FILE NAMES` */
export function runSave(
  context: CliContext,
  { output = '-' }: { readonly output?: string },
  names: readonly string[],
): Promise<void> {
  return runImageSave(quiet(context, output), names, { file: output, output: 'text' });
}

/** Docker's save says nothing. */
function quiet(context: CliContext, output: string): CliContext {
  return output === '-' ? context : { ...context, write: () => {} };
}

/** `tkadm ctr load -i FILE` */
export async function runLoad(
  context: CliContext,
  { input = '-' }: { readonly input?: string },
): Promise<void> {
  if (input === '-' && context.isInputTerminal) {
    throw new TkadmError('USAGE', 'Cannot load from a terminal: name the archive', { hint: '-i images.tar' });
  }
  for (const { id, repoTags } of await loadImages(context, { input, output: 'text' })) {
    const names = repoTags.map((tag) => `Loaded image: ${familiarName(tag)}\n`);
    context.write(names.join('') || `Loaded image ID: ${id}\n`);
  }
}

export interface BuildFlags {
  readonly buildArg?: readonly string[];
  /** --no-cache is false. */
  readonly cache: boolean;
  readonly file?: string;
  readonly iidfile?: string;
  readonly platform?: string;
  readonly pull?: boolean;
  readonly quiet?: boolean;
  readonly secret?: readonly string[];
  readonly tag?: readonly string[];
  readonly target?: string;
}

/** `tkadm ctr build PATH` */
export async function runBuild(context: CliContext, flags: BuildFlags, path: string): Promise<void> {
  checkPlatform(flags.platform);
  if (path === '-' || /^(https?|git):/.test(path)) {
    throw new TkadmError('UNSUPPORTED', `Cannot build "${path}": the context must be a directory here`);
  }
  const { file, tag = [], target, cache, buildArg, pull = false, secret = [], quiet = false } = flags;
  // As docker's: relative to where the command runs, not to the context.
  const isPlain = file === undefined || file === '-' || isAbsolute(file);
  const dockerfile = isPlain ? file : join(context.cwd, file);
  const steps = quiet ? { ...context, write: () => {} } : context;
  const { id } = await buildImage(steps, resolve(context.cwd, path), {
    tag,
    cache,
    pull,
    secret,
    output: 'text',
    ...(dockerfile === undefined ? {} : { file: dockerfile }),
    ...(target === undefined ? {} : { target }),
    ...(buildArg === undefined ? {} : { buildArg }),
  });
  if (flags.iidfile !== undefined) await writeFileAtomic(resolve(context.cwd, flags.iidfile), id);
  const names = tag.map((name) => `Successfully tagged ${familiarName(name)}\n`);
  context.write(quiet ? `${id}\n` : `Successfully built ${shortId(id)}\n${names.join('')}`);
}

const HISTORY_COLUMNS: readonly Column[] = [
  ['IMAGE', 'ID'],
  ['CREATED', 'CreatedSince'],
  ['CREATED BY', 'CreatedBy'],
  ['SIZE', 'Size'],
  ['COMMENT', 'Comment'],
];
const CREATED_BY_LENGTH = 45;

export interface HistoryFlags extends ListFlags {
  readonly trunc: boolean;
}

/** `tkadm ctr history NAME`: the newest step first. */
export async function runHistory(context: CliContext, flags: HistoryFlags, name: string): Promise<void> {
  const { id, config, layers } = await image(context, 'inspect', { name });
  // Layers of a base without a history have no step.
  let layer = layers.length - (config.history ?? []).filter(({ empty_layer: isEmpty }) => !isEmpty).length;
  const now = context.now();
  const steps = (config.history ?? []).map((step): Row => {
    const { created, created_by: createdBy = '', comment = '', empty_layer: isEmpty = false } = step;
    const sizeBytes = isEmpty ? 0 : (layers[layer]?.sizeBytes ?? 0);
    if (!isEmpty) layer += 1;
    const text = String(createdBy);
    const isCut = flags.trunc && text.length > CREATED_BY_LENGTH;
    return {
      ID: '<missing>',
      CreatedAt: String(created ?? ''),
      CreatedSince: created === undefined ? 'N/A' : `${formatAge(String(created), now)} ago`,
      CreatedBy: isCut ? `${text.slice(0, CREATED_BY_LENGTH - 1)}…` : text,
      Size: formatBytes(sizeBytes, 1000),
      Comment: String(comment),
    };
  });
  const rows = steps
    .toReversed()
    .map((row, index) => (index === 0 ? { ...row, ID: flags.trunc ? shortId(id) : id } : row));
  printRows(context, { ...flags, rows, columns: HISTORY_COLUMNS, idField: 'ID', otherFields: ['CreatedAt'] });
}

/** Removes images without a name, or with `all` those without a container; returns ids and bytes. */
export async function pruneImages(
  context: CliContext,
  all: boolean,
): Promise<{ ids: readonly string[]; bytes: number }> {
  const used = new Set((await ctr(context, 'list', {})).map(({ imageId }) => imageId));
  const unused = (await image(context, 'list')).filter(
    ({ id, repoTags, isPinned }) => !used.has(id) && !isPinned && (repoTags.length === 0 || all),
  );
  // Images share layers: what is freed is less than the sum of their sizes.
  const before = await ctr(context, 'diskUsage', {});
  for (const { id } of unused) await image(context, 'remove', { name: id });
  const after = await ctr(context, 'diskUsage', {});
  return {
    ids: unused.map(({ id }) => id),
    bytes: Math.max(0, before.imagesBytes - after.imagesBytes),
  };
}
