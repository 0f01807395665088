import { isTkadmError, TkadmError } from '../../../runtime/base/errors.ts';
import { parseTemplate } from '../../render/go-template.ts';
import type { CliContext } from '../context.ts';
import { ctr, image } from './call.ts';
import {
  buildContainerDocument,
  buildImageDocument,
  buildNetworkDocument,
  buildVolumeDocument,
} from './inspect-document.ts';

export interface InspectFlags {
  readonly size?: boolean;
  readonly format?: string;
  readonly type?: string;
}

/** Finds a thing of one kind; undefined when there is none of the name. */
type Finder = (context: CliContext, name: string) => Promise<object | undefined>;

/** What `inspect` looks through, in this order. */
const FINDERS: Readonly<Record<string, Finder>> = {
  container: (context, name) =>
    orNothing('CTR_NOT_FOUND', async () => {
      const container = await ctr(context, 'inspect', { name });
      const { root } = await ctr(context, 'info', {});
      return buildContainerDocument(container, `${root}/containers/${container.id}`);
    }),
  image: (context, name) =>
    orNothing('IMAGE_NOT_FOUND', async () => buildImageDocument(await image(context, 'inspect', { name }))),
  volume: async (context, name) => {
    const found = (await ctr(context, 'volumeList', {})).find((volume) => volume.name === name);
    return found && buildVolumeDocument(found);
  },
  network: async (context, name) => {
    const found = (await ctr(context, 'networkList', {})).find((network) => network.name === name);
    return found && buildNetworkDocument(found);
  },
};

async function orNothing(code: 'CTR_NOT_FOUND' | 'IMAGE_NOT_FOUND', find: () => Promise<object>) {
  try {
    return await find();
  } catch (error) {
    if (isTkadmError(error, code)) return undefined;
    throw error;
  }
}

/** `tkadm ctr inspect`: what is found as a JSON array, or by a template. Returns 1 when one is missing. */
export async function runInspect(
  context: CliContext,
  flags: InspectFlags,
  names: readonly string[],
): Promise<number> {
  const { type, format } = flags;
  if (type !== undefined && !Object.hasOwn(FINDERS, type)) {
    throw new TkadmError(
      'USAGE',
      `Cannot inspect type "${type}": it is none of ${Object.keys(FINDERS).join(', ')}`,
    );
  }
  const template = format === undefined || format === 'json' ? undefined : parseTemplate(format);
  const found: object[] = [];
  let exitCode = 0;
  for (const name of names) {
    const document = await find(context, name, flags);
    if (document !== undefined) found.push(document);
    else {
      exitCode = 1;
      context.writeError(`error: Cannot find ${type ?? 'object'} "${name}": there is none of that name\n`);
    }
  }
  if (template !== undefined) context.write(found.map((document) => `${template(document)}\n`).join(''));
  else context.write(`${JSON.stringify(found, null, format === 'json' ? 0 : 4)}\n`);
  return exitCode;
}

async function find(
  context: CliContext,
  name: string,
  { type, size }: InspectFlags,
): Promise<object | undefined> {
  const finders = type === undefined ? Object.values(FINDERS) : [FINDERS[type]!];
  for (const finder of finders) {
    const document = await finder(context, name);
    if (document !== undefined)
      return size && finder === FINDERS['container'] ? addSize(context, document) : document;
  }
  return undefined;
}

/** What the container has written, and that with its image, in bytes. */
async function addSize(context: CliContext, document: object): Promise<object> {
  const { Id, Image } = document as { readonly Id: string; readonly Image: string };
  const { containers } = await ctr(context, 'diskUsage', {});
  const written = containers.find(({ id }) => id === Id)?.bytes ?? 0;
  const base = (await image(context, 'list')).find(({ id }) => id === Image)?.sizeBytes ?? 0;
  return { ...document, SizeRw: written, SizeRootFs: base + written };
}
