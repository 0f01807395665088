import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { PATHS } from '../../runtime/base/paths.ts';
import { installBundle } from '../../runtime/host/bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { bundleChooser } from '../commands/bundle.ts';
import { bundleSources } from '../commands/bundle-sources.ts';
import type { CliContext } from '../commands/context.ts';
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

async function ensureBundle(context: CliContext): Promise<string> {
  return (
    (await findBundle(context)) ?? (await installBundle(createLocalHost(), bundleSources(context))).directory
  );
}

/** A target as it is told of before it is reached. */
export function describeTarget(target: SshTarget, settings: SshSettings) {
  return {
    host: target.host,
    user: resolveSshHost(target, settings.person).user ?? settings.defaultUser,
  };
}
