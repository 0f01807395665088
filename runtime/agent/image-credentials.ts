import type * as core from 'kubernetes-types/core/v1.d.ts';

/** One login of a docker config: the registry (perhaps with a path prefix) and its user. */
export interface Credential {
  readonly registry: string;
  readonly username: string;
  readonly password: string;
  readonly identityToken: string;
}

interface DockerEntry {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly identitytoken?: string;
}

/** The logins of a Secret of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg; [] for others. */
export function parseCredentials(secret: core.Secret): Credential[] {
  const config = secret.data?.['.dockerconfigjson'];
  const legacy = secret.data?.['.dockercfg'];
  const text = config ?? legacy;
  if (text === undefined) return [];
  let value: { auths?: Record<string, DockerEntry> } & Record<string, unknown>;
  try {
    value = JSON.parse(Buffer.from(text, 'base64').toString('utf8'));
  } catch {
    return [];
  }
  const entries = config === undefined ? (value as Record<string, DockerEntry>) : (value.auths ?? {});
  return Object.entries(entries).map(([registry, entry]) => ({ registry, ...parseLogin(entry) }));
}

function parseLogin(entry: DockerEntry): Omit<Credential, 'registry'> {
  const [user = '', ...rest] = entry.auth
    ? Buffer.from(entry.auth, 'base64').toString('utf8').split(':')
    : [];
  return {
    username: entry.username || user,
    password: entry.password || rest.join(':').replace(/\0+$/, ''),
    identityToken: entry.identitytoken ?? '',
  };
}

/** The logins that fit an image, the longest registry text first. */
export function matchCredentials(image: string, credentials: readonly Credential[]): Credential[] {
  const target = normalizeImage(image);
  return credentials
    .filter(({ registry }) => isMatch(normalizeRegistry(registry), target))
    .sort((a, b) => normalizeRegistry(b.registry).length - normalizeRegistry(a.registry).length);
}

/** "nginx" → "docker.io/library/nginx"; the tag and digest stay off. */
function normalizeImage(image: string): string {
  const name = image.replace(/@.*$/, '').replace(/:[^/:]+$/, '');
  const [first = ''] = name.split('/');
  const hasRegistry = name.includes('/') && (/[.:]/.test(first) || first === 'localhost');
  if (hasRegistry) return name;
  return name.includes('/') ? `docker.io/${name}` : `docker.io/library/${name}`;
}

function normalizeRegistry(registry: string): string {
  const plain = registry.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  return plain.replace(/^(index\.|registry-1\.)?docker\.io(\/v[12])?$/, 'docker.io').replace(/\/v[12]$/, '');
}

/** Host labels may be globs ("*.example.com"); a path matches as a prefix of whole parts. */
function isMatch(registry: string, target: string): boolean {
  const [host = '', ...path] = registry.split('/');
  const [targetHost = '', ...targetPath] = target.split('/');
  const pattern = host.split('.').map((label) => label.replace(/[^*\w:-]/g, '\\$&').replaceAll('*', '[^.]*'));
  if (!new RegExp(`^${pattern.join('\\.')}$`).test(targetHost)) return false;
  return path.every((part, index) => targetPath[index] === part);
}
