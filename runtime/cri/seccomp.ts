import { readFile } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { isAbsolute } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { buildDefaultSeccomp } from '../container/seccomp/default-profile.ts';
import type { OciSeccomp } from '../container/seccomp/oci-seccomp.ts';
import { parseSeccompProfile } from '../container/seccomp/profile-file.ts';
import type { SecurityProfile } from './messages/linux.ts';

/** GOARCH's names, as profiles use them. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export interface SeccompWish {
  readonly profile: SecurityProfile | undefined;
  readonly isPrivileged: boolean;
  /** The container's bounding set, "CAP_CHOWN", ... */
  readonly capabilities: readonly string[];
}

/** The deprecated `seccomp_profile_path`: "runtime/default", "unconfined", "localhost/PATH"; "" is unconfined. */
export function parseProfilePath(path: string): SecurityProfile | undefined {
  if (path === '') return undefined;
  if (path === 'unconfined') return { profileType: 'Unconfined', localhostRef: '' };
  if (path === 'runtime/default' || path === 'docker/default') {
    return { profileType: 'RuntimeDefault', localhostRef: '' };
  }
  if (path.startsWith('localhost/')) {
    return { profileType: 'Localhost', localhostRef: path.slice('localhost/'.length) };
  }
  throw new TkadmError('SECCOMP_PROFILE', `Cannot use seccomp profile "${path}": it is of no known kind`);
}

/**
 * The filter that CRI asks for; undefined for none, which privileged containers always get.
 * @throws SECCOMP_PROFILE when a Localhost profile is not there or is no profile.
 */
export async function resolveSeccomp(wish: SeccompWish): Promise<OciSeccomp | undefined> {
  const { profile, isPrivileged, capabilities } = wish;
  if (profile === undefined || isPrivileged || profile.profileType === 'Unconfined') return undefined;
  if (profile.profileType === 'RuntimeDefault') return buildDefaultSeccomp(capabilities);
  const path = profile.localhostRef;
  const fail = (state: string) =>
    new TkadmError('SECCOMP_PROFILE', `Cannot read seccomp profile "${path}": ${state}`);
  if (!isAbsolute(path)) throw fail('the path is not absolute');
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw fail(error.code ?? error.message);
  });
  const architecture = ARCHITECTURES[arch()] ?? arch();
  return parseSeccompProfile(path, text, { architecture, capabilities, kernelRelease: release() });
}
