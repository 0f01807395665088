import { TkadmError } from '../../base/errors.ts';
import type { OciSeccomp, OciSeccompArg, OciSeccompRule } from './oci-seccomp.ts';

/** What a profile's rows may depend on: Docker's format beside the runtime-spec's. */
export interface ProfileHost {
  /** GOARCH's name, "amd64" */
  readonly architecture: string;
  /** "CAP_CHOWN", ... of the container's bounding set. */
  readonly capabilities: readonly string[];
  /** "6.1.0-18-amd64" */
  readonly kernelRelease: string;
}

interface FileConditions {
  readonly arches?: readonly string[];
  readonly caps?: readonly string[];
  readonly minKernel?: string;
}

interface FileRule {
  readonly name?: string;
  readonly names?: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly OciSeccompArg[] | null;
  readonly includes?: FileConditions | null;
  readonly excludes?: FileConditions | null;
}

interface ProfileFile extends Omit<OciSeccomp, 'syscalls'> {
  readonly archMap?: readonly {
    readonly architecture: string;
    readonly subArchitectures?: readonly string[];
  }[];
  readonly syscalls?: readonly FileRule[] | null;
}

/**
 * Parses a profile of the Localhost kind, in the runtime-spec's format or in Docker's (`archMap`, `includes`,
 * `excludes`), and keeps the rows that hold for the container.
 * @throws SECCOMP_PROFILE when the text is no profile.
 */
export function parseSeccompProfile(path: string, text: string, host: ProfileHost): OciSeccomp {
  const file = readObject(path, text);
  const { archMap, syscalls, ...rest } = file;
  const mapped = (archMap ?? []).flatMap(({ architecture, subArchitectures }) => [
    architecture,
    ...(subArchitectures ?? []),
  ]);
  return {
    ...rest,
    architectures: [...(file.architectures ?? []), ...mapped],
    syscalls: (syscalls ?? []).filter((rule) => applies(rule, host)).map(buildRule),
  };
}

function readObject(path: string, text: string): ProfileFile {
  const fail = (state: string) =>
    new TkadmError('SECCOMP_PROFILE', `Cannot read seccomp profile "${path}": ${state}`);
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw fail((error as Error).message);
  }
  const { defaultAction, syscalls } = (file ?? {}) as Partial<ProfileFile>;
  if (typeof defaultAction !== 'string') throw fail('it has no defaultAction');
  if (syscalls && !syscalls.every((rule) => typeof rule.action === 'string' && hasNames(rule))) {
    throw fail('a row of syscalls has no names or no action');
  }
  return file as ProfileFile;
}

function hasNames({ name, names }: FileRule): boolean {
  return (
    typeof name === 'string' || (Array.isArray(names) && names.every((item) => typeof item === 'string'))
  );
}

function buildRule({ name, names, action, errnoRet, args }: FileRule): OciSeccompRule {
  return {
    names: [...(name === undefined ? [] : [name]), ...(names ?? [])],
    action,
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args?.length ? { args } : {}),
  };
}

/** Every condition of `includes` must hold, none of `excludes` may. */
function applies({ includes, excludes }: FileRule, host: ProfileHost): boolean {
  const { arches = [], caps = [], minKernel } = includes ?? {};
  if (arches.length > 0 && !arches.includes(host.architecture)) return false;
  if (!caps.every((name) => host.capabilities.includes(name))) return false;
  if (minKernel !== undefined && !isKernelAtLeast(host.kernelRelease, minKernel)) return false;
  if (excludes?.arches?.includes(host.architecture)) return false;
  if (excludes?.caps?.some((name) => host.capabilities.includes(name))) return false;
  return !(excludes?.minKernel && isKernelAtLeast(host.kernelRelease, excludes.minKernel));
}

function isKernelAtLeast(release: string, minimum: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = minimum.split('.').map(Number);
  return major !== wantedMajor ? major > wantedMajor : minor >= wantedMinor;
}
