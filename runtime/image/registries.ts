import { TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';

/** How registries are reached: `/etc/tkadm/registries.json`. */
export interface RegistriesConfig {
  /** Registries, "host:port", that speak plain HTTP. Those on the loopback always may. */
  readonly plainHttp: readonly string[];
  /** Registry → hosts that are tried before it, in order. */
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
}

export const REGISTRIES_PATH = '/etc/tkadm/registries.json';

/** The file's settings; none when it is not there. @throws IMAGE_REGISTRIES_INVALID */
export async function loadRegistries(path = REGISTRIES_PATH): Promise<RegistriesConfig> {
  const text = await readFileIfExists(path);
  if (text === undefined) return { plainHttp: [], mirrors: {} };
  try {
    const { plainHttp = [], mirrors = {}, ...rest } = JSON.parse(text) as Partial<RegistriesConfig>;
    const [unknown] = Object.keys(rest);
    if (unknown !== undefined) throw new Error(`unknown field "${unknown}"`);
    return { plainHttp, mirrors };
  } catch (error) {
    throw new TkadmError('IMAGE_REGISTRIES_INVALID', `Cannot use "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** True for registries that are named in the file or on the loopback. */
export function isPlainHttp(host: string, config: RegistriesConfig): boolean {
  return config.plainHttp.includes(host) || /^(localhost|127\.[\d.]+|\[::1\])(:\d+)?$/.test(host);
}
