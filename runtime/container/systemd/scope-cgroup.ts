import { readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import type { Cgroup, CgroupContext } from '../cgroup/cgroup.ts';
import { openCgroup } from '../cgroup/open-cgroup.ts';
import type { ResourceUpdate } from '../engine.ts';
import type { Performer } from '../performer/performer.ts';
import { startScopeHolder } from './scope-holder.ts';
import { buildLimitProperties, buildScopeProperties } from './scope-properties.ts';
import { SystemdManager, type UnitProperty } from './systemd-manager.ts';

export interface CgroupPlace {
  /** "/machine.slice/libpod-ID.scope" */
  readonly path: string;
  /** systemd makes the cgroup: the path is of a scope and its slice. */
  readonly isScope: boolean;
}

interface ScopeContext {
  readonly cgroups: CgroupContext;
  readonly performer: Performer;
}

/** A container's cgroup, made by us or by systemd. */
export function openContainerCgroup(context: ScopeContext, { path, isScope }: CgroupPlace): Cgroup {
  return isScope ? openScope(context, path) : openCgroup(context.cgroups, path);
}

/** The cgroup of a scope: systemd makes and ends it; limits are told to systemd and written to the files. */
function openScope({ cgroups, performer }: ScopeContext, path: string): Cgroup {
  const files = openCgroup({ ...cgroups, hasUnified: true }, path);
  const unit = basename(path);
  const slice = basename(dirname(path)) || '-.slice';
  const limitsOf = async (
    manager: SystemdManager,
    resources: ResourceUpdate,
  ): Promise<readonly UnitProperty[]> =>
    buildLimitProperties(resources, {
      cgroupVersion: cgroups.host.version,
      version: await manager.version(),
      devices: readFileSync('/proc/devices', 'utf8'),
    });
  return {
    ...files,
    async create(resources) {
      const holder = await startScopeHolder(performer);
      try {
        await withSystemd(async (manager) => {
          const limits = resources === undefined ? [] : await limitsOf(manager, resources);
          await manager.startScope(unit, [...buildScopeProperties(slice, holder.pid, unit), ...limits]);
          await checkPlace(manager, unit, path);
        });
        await files.create(resources);
        return holder.release;
      } catch (error) {
        holder.release();
        throw error;
      }
    },
    async update(resources) {
      await withSystemd(async (manager) => {
        await manager.setProperties(unit, await limitsOf(manager, resources));
      });
      await files.update(resources);
    },
    async remove() {
      // systemd would ask them first, and wait.
      files.kill('SIGKILL');
      await withSystemd((manager) => manager.stop(unit));
      await files.remove();
    },
  };
}

async function withSystemd(work: (manager: SystemdManager) => Promise<void>): Promise<void> {
  const manager = await SystemdManager.open();
  try {
    await work(manager);
  } finally {
    manager.close();
  }
}

/** A systemd that does not have the tree from its root on, as in a container, would watch another cgroup. */
async function checkPlace(manager: SystemdManager, unit: string, path: string): Promise<void> {
  const actual = await manager.controlGroup(unit);
  if (actual === path) return;
  throw new TkadmError(
    'CGROUP_UNSUPPORTED',
    `Cannot use "${unit}": systemd has it at "${actual}", not "${path}"`,
    {
      hint: 'Leave "--systemd-cgroup" out',
    },
  );
}
