import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { installBundle, readBundleId } from '../../runtime/host/bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { bundleChooser } from '../commands/bundle.ts';
import { bundleSources } from '../commands/bundle-sources.ts';
import type { CliContext } from '../commands/context.ts';
import { BundleArchives } from '../ssh/bundle-archive.ts';
import { resolveSshHost } from '../ssh/config-resolve.ts';
import type { SshSettings } from '../ssh/connection.ts';
import type { SshTarget } from '../ssh/target.ts';
import type { FleetTools } from './join-member.ts';
import { Slots } from './slots.ts';

/** More uploads at one time fill the line without any machine being done sooner. */
const UPLOADS = 6;

/** What all pipelines of one command share. */
export function createFleetTools(context: CliContext): FleetTools {
  let directory: Promise<string> | undefined;
  return {
    signal: context.signal,
    now: context.now,
    uploads: new Slots(UPLOADS),
    archives: new BundleArchives(context.signal),
    bundleFor: async (architecture) => {
      if (architecture !== process.arch) return bundleChooser(context, undefined)(architecture);
      directory ??= ensureBundle(context);
      return directory;
    },
  };
}

/** The bundle of this machine; undefined when it has none. */
export async function findBundle(context: Pick<CliContext, 'fileExists'>): Promise<string | undefined> {
  const current = join(PATHS.bundle, 'current');
  return (await context.fileExists(join(current, 'image.json'))) ? realpath(current) : undefined;
}

/** @throws NOT_ROOT when it would have to be assembled by somebody who may not */
async function ensureBundle(context: CliContext): Promise<string> {
  const found = await findBundle(context);
  if (found !== undefined) return found;
  const [host, sources] = [createLocalHost(), bundleSources(context)];
  if (context.uid === 0) return (await installBundle(host, sources)).directory;
  const directory = join(PATHS.bundle, await readBundleId(host, sources));
  if (await context.fileExists(join(directory, 'image.json'))) return directory;
  throw new TkadmError('NOT_ROOT', `Cannot assemble the node bundle at "${directory}": this needs root`, {
    hint: 'sudo tkadm bundle, once; then the same command again',
  });
}

/** A target as it is told of before it is reached. */
export function describeTarget(target: SshTarget, settings: SshSettings) {
  return {
    host: target.host,
    user: resolveSshHost(target, settings.person).user ?? settings.defaultUser,
  };
}
