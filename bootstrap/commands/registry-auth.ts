import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';
import type { RegistryAuth } from '../../runtime/image/puller.ts';
import { parseReference } from '../../runtime/image/reference.ts';
import type { CliContext } from './context.ts';

/** The file that `docker login`, `podman login` and `skopeo login` write (docker config.json). */
interface AuthFile {
  readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string }>>;
  readonly credHelpers?: Readonly<Record<string, string>>;
  readonly credsStore?: string;
}

/** How docker's file names its own registry. */
const DOCKER_HUB = ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io', 'registry-1.docker.io'];

/**
 * The credentials of an image name's registry: from `--authfile`, REGISTRY_AUTH_FILE, or docker's own file; undefined
 * when there are none.
 * @throws FILE_READ for a named file that is not there or no JSON, UNSUPPORTED when a credential helper keeps them.
 */
export async function readRegistryAuth(
  context: Pick<CliContext, 'cwd' | 'env'>,
  name: string,
  authfile: string | undefined,
): Promise<RegistryAuth | undefined> {
  const named = authfile ?? context.env['REGISTRY_AUTH_FILE'];
  const directory = context.env['DOCKER_CONFIG'] ?? join(context.env['HOME'] ?? homedir(), '.docker');
  const path = named === undefined ? join(directory, 'config.json') : resolve(context.cwd, named);
  const text = await readFileIfExists(path);
  if (text === undefined && named === undefined) return undefined;
  if (text === undefined) throw new TkadmError('FILE_READ', `Cannot read "${path}": there is no such file`);
  const file = parse(text, path);
  const { registry } = parseReference(name);
  const hosts =
    registry === 'docker.io' ? DOCKER_HUB : [registry, `https://${registry}`, `https://${registry}/`];
  const found = hosts.map((host) => file.auths?.[host]).find((entry) => entry?.auth || entry?.identitytoken);
  if (found !== undefined) return { auth: found.auth ?? '', identityToken: found.identitytoken ?? '' };
  const helper =
    file.credHelpers?.[registry] ?? (hosts.some((host) => file.auths?.[host]) && file.credsStore);
  if (!helper) return undefined;
  throw new TkadmError(
    'UNSUPPORTED',
    `Cannot use the credentials of "${registry}": credential helper "${helper}" of "${path}" keeps them`,
    { hint: 'Write them to a file: skopeo login --authfile FILE' },
  );
}

function parse(text: string, path: string): AuthFile {
  try {
    return JSON.parse(text) as AuthFile;
  } catch {
    // The parser's message would show a part of the text.
    throw new TkadmError('FILE_READ', `Cannot read "${path}": it is no JSON`);
  }
}
