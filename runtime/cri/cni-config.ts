import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError, TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';

/** A network configuration list (CNI spec 1.0 §1). */
export interface CniConfigList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly CniPluginConfig[];
  /** The network's plugins do not know CHECK. */
  readonly disableCheck?: boolean;
}

/** One plugin of a list, with its own fields. */
export interface CniPluginConfig {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>>;
  readonly [key: string]: unknown;
}

/** The first network configuration of a directory, by name; undefined when there is none. */
export async function loadConfig(confDir: string): Promise<CniConfigList | undefined> {
  const names = await readdir(confDir).catch(() => []);
  const candidates = names.filter((name) => /\.(conf|conflist|json)$/.test(name)).sort();
  for (const name of candidates) {
    const text = await readFileIfExists(join(confDir, name));
    if (text !== undefined) return parseConfig(text, join(confDir, name));
  }
  return undefined;
}

function parseConfig(text: string, path: string): CniConfigList {
  const fail = (state: string) =>
    new TkadmError('CNI_CONFIG', `Cannot use CNI configuration "${path}": ${state}`);
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw fail(formatError(error));
  }
  const cniVersion = (value['cniVersion'] as string | undefined) ?? '0.2.0';
  const name = value['name'];
  if (typeof name !== 'string' || name === '') throw fail('it has no name');
  const plugins = (value['plugins'] ?? [value]) as readonly CniPluginConfig[];
  if (!Array.isArray(plugins) || plugins.length === 0) throw fail('it has no plugins');
  if (!plugins.every((plugin) => typeof plugin.type === 'string')) throw fail('a plugin has no type');
  return { cniVersion, name, plugins, ...(value['disableCheck'] === true ? { disableCheck: true } : {}) };
}
