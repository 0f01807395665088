import { TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';
import type { HttpTrust } from './http-client.ts';

/** How one host, "registry.example:5000", is spoken to. */
export interface RegistryHost extends HttpTrust {
  readonly plainHttp?: boolean;
}

/** How registries are reached: `/etc/tkadm/registries.json`. */
export interface RegistriesConfig {
  /** Registries, "host:port", that speak plain HTTP. Those on the loopback always may. */
  readonly plainHttp: readonly string[];
  /** Registry → hosts that are tried before it, in order; "*" for all registries without a row. */
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
  /** By "host:port", registries and mirrors alike. */
  readonly hosts: Readonly<Record<string, RegistryHost>>;
}

const REGISTRIES_PATH = '/etc/tkadm/registries.json';

const EMPTY: RegistriesConfig = { plainHttp: [], mirrors: {}, hosts: {} };

/** The file's settings; none when it is not there. @throws IMAGE_REGISTRIES_INVALID */
export async function loadRegistries(path = REGISTRIES_PATH): Promise<RegistriesConfig> {
  const text = await readFileIfExists(path);
  if (text === undefined) return EMPTY;
  try {
    return checkRegistries(JSON.parse(text));
  } catch (error) {
    throw new TkadmError('IMAGE_REGISTRIES_INVALID', `Cannot use "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}

type Check = (value: unknown) => boolean;

const isTexts: Check = (value) => Array.isArray(value) && value.every((item) => typeof item === 'string');
const isBoolean: Check = (value) => typeof value === 'boolean';
const isText: Check = (value) => typeof value === 'string';
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const HOST_FIELDS: Readonly<Record<keyof RegistryHost, Check>> = {
  plainHttp: isBoolean,
  caFile: isText,
  skipVerify: isBoolean,
};

const FIELDS: Readonly<Record<keyof RegistriesConfig, Check>> = {
  plainHttp: isTexts,
  mirrors: (value) => isObject(value) && Object.values(value).every(isTexts),
  hosts: isObject,
};

function checkRegistries(value: unknown): RegistriesConfig {
  const config = checkFields(value, FIELDS, 'the document');
  for (const [host, settings] of Object.entries(config['hosts'] ?? {})) {
    checkFields(settings, HOST_FIELDS, `host "${host}"`);
  }
  return { ...EMPTY, ...config };
}

function checkFields(
  value: unknown,
  fields: Readonly<Record<string, Check>>,
  what: string,
): Record<string, unknown> {
  if (!isObject(value)) throw new Error(`${what} is no object`);
  for (const [name, item] of Object.entries(value)) {
    const check = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (check === undefined) throw new Error(`unknown field "${name}" in ${what}`);
    if (!check(item)) throw new Error(`"${name}" in ${what} is of the wrong kind`);
  }
  return value;
}

/** True for registries that are named in the file or on the loopback. */
export function isPlainHttp(host: string, { plainHttp, hosts }: RegistriesConfig): boolean {
  const own = hosts[host]?.plainHttp;
  return own ?? (plainHttp.includes(host) || /^(localhost|127\.[\d.]+|\[::1\])(:\d+)?$/.test(host));
}

/** The hosts to ask for a registry's images, in order, itself the last. */
export function hostsOf(registry: string, { mirrors }: RegistriesConfig): readonly string[] {
  const own = Object.hasOwn(mirrors, registry) ? mirrors[registry] : mirrors['*'];
  return [...(own ?? []).filter((host) => host !== registry), registry];
}
