import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import { stageBundle } from '../../runtime/host/bundle.ts';
import { completeBundle } from '../../runtime/host/bundle-layout.ts';
import type { Architecture } from '../../runtime/host/elf-architecture.ts';
import { findForeignBundle, stageForeignBundle } from '../../runtime/host/foreign-bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { fetchArchives, unpackArchives } from '../foreign/archives.ts';
import { FOREIGN_PARTS, type ForeignPart } from '../foreign/parts.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';
import { requireRoot } from './require-root.ts';

export interface BundleOptions {
  readonly output: OutputFormat;
  readonly arch?: Architecture;
  readonly nodeBinary?: string;
  readonly packages?: string;
}

/** `tkadm bundle`: lays the node bundle out for this machine, or for those of another architecture. */
export async function runBundle(context: CliContext, options: BundleOptions): Promise<void> {
  requireRoot(context);
  const architecture = options.arch ?? process.arch;
  const { id, directory } =
    options.arch === undefined || options.arch === process.arch
      ? await stageOwn(context, options)
      : await stageForeign(context, options.arch, options);
  writeData(context, options.output, { id, architecture, directory }, `${directory}\n`);
}

/** `tkadm bundle complete`: adds this machine's part to the bundle that the command runs from. @throws USAGE */
export async function runBundleComplete(context: CliContext): Promise<void> {
  requireRoot(context);
  const { installedDirectory } = bundleSources(context);
  if (installedDirectory === undefined) {
    throw new TkadmError('USAGE', 'Cannot complete a node bundle: this command does not run from one');
  }
  await completeBundle(createLocalHost(), await realpath(installedDirectory), process.arch);
}

/**
 * What a machine of an architecture gets: the bundle of this machine, or one that was laid out for others.
 * @throws JOIN_FAILED with the command that lays it out.
 */
export function bundleChooser(
  context: CliContext,
  own: string | undefined,
): (architecture: Architecture) => Promise<string> {
  return async (architecture) => {
    if (architecture === process.arch) return own ?? '';
    const found = await findForeignBundle(bundleSources(context), architecture);
    if (found !== undefined) return found;
    throw new TkadmError(
      'JOIN_FAILED',
      `Cannot send the node bundle: the machine is ${architecture}, and there is none for that here`,
      { hint: `tkadm bundle --arch ${architecture}` },
    );
  };
}

async function stageOwn(context: CliContext, { nodeBinary, packages }: BundleOptions) {
  const flag = nodeBinary === undefined ? packages && '--packages' : '--node-binary';
  if (flag) {
    throw new TkadmError(
      'USAGE',
      `Cannot use ${flag}: the bundle for ${process.arch} is made of this machine's own`,
      {
        hint: `tkadm bundle --arch ${process.arch === 'x64' ? 'arm64' : 'x64'} ${flag} ...`,
      },
    );
  }
  return stageBundle(createLocalHost(), bundleSources(context));
}

async function stageForeign(
  context: CliContext,
  architecture: Architecture,
  { nodeBinary, packages }: BundleOptions,
) {
  const rows: readonly ForeignPart[] = FOREIGN_PARTS;
  const parts = rows.filter(
    (row) => row.architecture === architecture && (row.role === 'addon' || nodeBinary === undefined),
  );
  const host = createLocalHost();
  const folder = await mkdtemp('/var/tmp/tkadm-bundle-');
  try {
    const archives = packages === undefined ? folder : resolve(context.cwd, packages);
    if (packages === undefined) await fetchArchives(host, parts, folder);
    const addonsDir = join(folder, 'node_modules');
    await unpackArchives(host, parts, { archives, target: addonsDir });
    const node = parts.find(({ role }) => role === 'node');
    const nodePath = node ? join(addonsDir, node.name, 'bin/node') : resolve(context.cwd, nodeBinary ?? '');
    return await stageForeignBundle({ own: bundleSources(context), architecture, nodePath, addonsDir });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
