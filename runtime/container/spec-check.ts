import { TkadmError } from '../base/errors.ts';
import type { CreateContainerOptions } from './engine.ts';
import { findMissingLabel } from './labels.ts';
import { hasOwnMounts } from './performer/namespaces.ts';
import { findSharedSysctl } from './sysctls.ts';

/** Container ids become file names. */
const ID_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,255}$/;

/**
 * Refuses what cannot be done, by name.
 * @throws CONTAINER_STATE for a spec that makes no sense
 */
export function checkSpec({ id, spec, inheritStreams, traits }: CreateContainerOptions): void {
  const invalid = (state: string) =>
    new TkadmError('CONTAINER_STATE', `Cannot create container "${id}": ${state}`);
  if (!ID_PATTERN.test(id)) throw invalid('the id is no file name');
  if (spec.process === undefined || spec.process.args.length === 0) throw invalid('process.args is empty');
  const { cwd } = spec.process;
  if (!cwd.startsWith('/')) throw invalid(`the working directory "${cwd}" is not absolute`);
  const hasSocket = traits?.consoleSocket !== undefined;
  if (spec.process.terminal && inheritStreams && !hasSocket) {
    throw invalid('"process.terminal" needs a console socket for a container that nobody is attached to');
  }
  if (hasSocket && !spec.process.terminal) throw invalid('a console socket needs "process.terminal"');
  const namespaces = spec.linux?.namespaces ?? [];
  const { uidMappings = [], gidMappings = [], timeOffsets } = spec.linux ?? {};
  const twice = namespaces.find(
    ({ type }, index) => namespaces.findIndex((one) => one.type === type) < index,
  );
  if (twice !== undefined) throw invalid(`"linux.namespaces" has "${twice.type}" twice`);
  const user = namespaces.find(({ type }) => type === 'user');
  if (user === undefined && uidMappings.length + gidMappings.length > 0) {
    throw invalid('"linux.uidMappings" and "linux.gidMappings" need a user namespace');
  }
  if (user !== undefined && !user.path && (uidMappings.length === 0 || gidMappings.length === 0)) {
    throw invalid('a new user namespace needs "linux.uidMappings" and "linux.gidMappings"');
  }
  if (timeOffsets !== undefined && !namespaces.some(({ type, path }) => type === 'time' && !path)) {
    throw invalid('"linux.timeOffsets" needs a new time namespace');
  }
  if (user !== undefined && !user.path && !hasOwnMounts(spec)) {
    throw invalid('a new user namespace needs a new mount namespace: nobody in it may enter another');
  }
  for (const { destination, type, options = [] } of spec.mounts ?? []) {
    if (options.includes('tmpcopyup') && type !== 'tmpfs')
      throw invalid(`"tmpcopyup" of "${destination}" needs a tmpfs`);
  }
  if (spec.linux?.cgroupsPath?.split('/').includes('..'))
    throw invalid('"linux.cgroupsPath" leads out of the cgroups');
  const missing = findMissingLabel(spec);
  if (missing !== undefined) throw invalid(`"${missing}", which this kernel has not`);
  const shared = findSharedSysctl(spec);
  if (shared !== undefined) throw invalid(shared);
  if (spec.domainname && !namespaces.some(({ type }) => type === 'uts')) {
    throw invalid('domainname needs a uts namespace');
  }
  if (spec.hostname && !namespaces.some(({ type }) => type === 'uts')) {
    throw invalid('hostname needs a uts namespace');
  }
}
