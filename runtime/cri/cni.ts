import { spawn } from 'node:child_process';
import { access, readdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { formatError, TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';
import type { Logger } from '../base/log.ts';

/** A network configuration list (CNI spec 1.0 §1). */
export interface CniConfigList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly CniPluginConfig[];
  /** The network's plugins do not know CHECK. */
  readonly disableCheck?: boolean;
}

export interface CniPluginConfig {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>>;
  readonly [key: string]: unknown;
}

/** The result of ADD (CNI spec 1.0 §5), as far as it is read here. */
export interface CniResult {
  readonly cniVersion?: string;
  readonly ips?: readonly { readonly address: string; readonly gateway?: string }[];
  readonly [key: string]: unknown;
}

export type CniCommand = 'ADD' | 'DEL' | 'CHECK';

/** What a plugin gets: the variables of CNI spec 1.0 §2 and its standard input. */
export interface CniRequest {
  readonly command: CniCommand;
  readonly containerId: string;
  /** "" when the namespace is gone (DEL). */
  readonly netns: string;
  readonly ifName: string;
  readonly args: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** A plugin that runs inside the runtime instead of as a program, for example "tkadm-bridge". */
export interface InProcessCniPlugin {
  readonly type: string;
  /** The result of ADD; DEL and CHECK return undefined. Failures throw. */
  run(request: CniRequest): Promise<CniResult | undefined>;
}

/** Everything DEL needs later, kept with the sandbox. */
export interface CniAttachment {
  readonly list: CniConfigList;
  readonly args: string;
  readonly runtimeConfig: Readonly<Record<string, unknown>>;
  readonly result: CniResult | undefined;
}

export interface CniPrepareOptions {
  /** CNI_ARGS, "K8S_POD_NAME=a;..." */
  readonly args: string;
  /** Capability name → value, handed to the plugins that declare the capability. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>;
}

export interface CniOptions {
  readonly confDir: string;
  readonly binDirs: readonly string[];
  readonly plugins: readonly InProcessCniPlugin[];
  readonly log: Logger;
}

export const POD_INTERFACE = 'eth0';
const PLUGIN_TIMEOUT_MS = 60_000;
/** The first version with CHECK, and with a result for DEL (CNI spec 0.4.0). */
const CHECK_VERSION = '0.4.0';

/** What libcni does for a runtime: finds the configuration and runs its chain of plugins. */
export interface Cni {
  /** The configuration in use: the first of the directory by name. @throws CNI_CONFIG when it is invalid. */
  config(): Promise<CniConfigList | undefined>;
  /** What ADD and DEL of a sandbox are run with, to be stored before ADD. @throws CNI_CONFIG */
  prepare(options: CniPrepareOptions): Promise<CniAttachment>;
  /**
   * Runs ADD along the chain; what was set up is torn down again on failure.
   * Returns the attachment with the result. @throws CNI_PLUGIN
   */
  add(attachment: CniAttachment, containerId: string, netns: string): Promise<CniAttachment>;
  /** Runs CHECK along the chain unless the list forbids it or is too old to know it. @throws CNI_PLUGIN */
  check(attachment: CniAttachment, containerId: string, netns: string): Promise<void>;
  /**
   * Runs DEL backwards through the chain: every plugin, although one has failed.
   * @throws CNI_PLUGIN of the first that failed, with the others as its cause.
   */
  del(attachment: CniAttachment, containerId: string, netns: string): Promise<void>;
}

export function createCni(options: CniOptions): Cni {
  const run = (request: CniRequest, type: string) => runPlugin(options, type, request);
  const cni: Cni = {
    config: () => loadConfig(options.confDir),
    async prepare({ args, runtimeConfig }) {
      const list = await cni.config();
      if (list !== undefined) return { list, args, runtimeConfig, result: undefined };
      throw new TkadmError(
        'CNI_CONFIG',
        `Cannot set up the pod network: no CNI configuration in "${options.confDir}"`,
        { hint: 'Install a pod network add-on' },
      );
    },
    async add(attachment, containerId, netns) {
      const { list, args, runtimeConfig } = attachment;
      let result: CniResult | undefined;
      try {
        for (const plugin of list.plugins) {
          const config = pluginInput(list, plugin, runtimeConfig, result);
          const request = { ...requestOf(containerId, netns, args), command: 'ADD', config } as const;
          result = (await run(request, plugin.type)) ?? result;
        }
        checkResult(list, result);
      } catch (error) {
        await cni.del({ ...attachment, result }, containerId, netns).catch((cleanup: unknown) => {
          options.log.warn('CNI DEL after a failed ADD failed', { error: formatError(cleanup) });
        });
        throw error;
      }
      return { ...attachment, result };
    },
    async check({ list, args, runtimeConfig, result }, containerId, netns) {
      if (list.disableCheck || !isAtLeast(list.cniVersion, CHECK_VERSION)) return;
      for (const plugin of list.plugins) {
        const config = pluginInput(list, plugin, runtimeConfig, result);
        await run({ ...requestOf(containerId, netns, args), command: 'CHECK', config }, plugin.type);
      }
    },
    async del({ list, args, runtimeConfig, result }, containerId, netns) {
      const known = isAtLeast(list.cniVersion, CHECK_VERSION) ? result : undefined;
      const failures: unknown[] = [];
      for (const plugin of list.plugins.toReversed()) {
        const config = pluginInput(list, plugin, runtimeConfig, known);
        const request = { ...requestOf(containerId, netns, args), command: 'DEL', config } as const;
        await run(request, plugin.type).catch((error: unknown) => failures.push(error));
      }
      const [first] = failures;
      if (failures.length > 1 && first instanceof TkadmError) {
        throw new TkadmError('CNI_PLUGIN', first.message, { cause: new AggregateError(failures.slice(1)) });
      }
      if (first !== undefined) throw first;
    },
  };
  return cni;
}

function requestOf(containerId: string, netns: string, args: string) {
  return { containerId, netns, ifName: POD_INTERFACE, args } as const;
}

/** A pod without an address is no pod: what the chain printed last must have one, as a CIDR. */
function checkResult(list: CniConfigList, result: CniResult | undefined): void {
  const addresses = result?.ips?.map(({ address }) => address) ?? [];
  const fail = (state: string) =>
    new TkadmError('CNI_PLUGIN', `Cannot use the result of CNI network "${list.name}": ${state}`);
  if (addresses.length === 0) throw fail('it has no address');
  const wrong = addresses.find((address) => !isCidr(address));
  if (wrong !== undefined) throw fail(`"${wrong}" is no address with a prefix length`);
}

function isCidr(text: string): boolean {
  const [address = '', prefix = '', ...others] = text.split('/');
  const maxPrefix = isIP(address) === 4 ? 32 : 128;
  return isIP(address) !== 0 && /^\d+$/.test(prefix) && Number(prefix) <= maxPrefix && others.length === 0;
}

/** Compares versions by their numbers: "1.0.0" is at least "0.4.0". */
function isAtLeast(version: string, minimum: string): boolean {
  return version.localeCompare(minimum, 'en', { numeric: true }) >= 0;
}

/** Addresses without their prefix length, in the order of the result. */
export function cniAddresses(result: CniResult | undefined): readonly string[] {
  return (result?.ips ?? []).map((ip) => ip.address.split('/')[0]!);
}

async function loadConfig(confDir: string): Promise<CniConfigList | undefined> {
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

/** Standard input of a plugin (CNI spec 1.0 §4, "Deriving execution configuration"). */
function pluginInput(
  list: CniConfigList,
  plugin: CniPluginConfig,
  runtimeConfig: Readonly<Record<string, unknown>>,
  prevResult: CniResult | undefined,
): Readonly<Record<string, unknown>> {
  const { capabilities, ...config } = plugin;
  const wanted = Object.entries(runtimeConfig).filter(([name]) => capabilities?.[name] === true);
  return {
    ...config,
    name: list.name,
    cniVersion: list.cniVersion,
    ...(wanted.length > 0 ? { runtimeConfig: Object.fromEntries(wanted) } : {}),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
}

async function runPlugin(
  options: CniOptions,
  type: string,
  request: CniRequest,
): Promise<CniResult | undefined> {
  const inProcess = options.plugins.find((plugin) => plugin.type === type);
  if (inProcess !== undefined) {
    try {
      return await inProcess.run(request);
    } catch (error) {
      throw pluginError(type, request, formatError(error), error);
    }
  }
  const path = await findPlugin(options.binDirs, type);
  if (path === undefined) {
    throw pluginError(type, request, `no such program in ${options.binDirs.join(', ')}`);
  }
  const { code, stdout, stderr } = await execPlugin(path, request, options.binDirs);
  if (code !== 0)
    throw pluginError(type, request, pluginMessage(stdout) ?? (stderr.trim() || `exit code ${code}`));
  if (request.command !== 'ADD' || stdout.trim() === '') return undefined;
  try {
    return JSON.parse(stdout) as CniResult;
  } catch (error) {
    throw pluginError(type, request, `its result is no JSON: ${formatError(error)}`, error);
  }
}

function pluginError(type: string, request: CniRequest, state: string, cause?: unknown): TkadmError {
  return new TkadmError(
    'CNI_PLUGIN',
    `Cannot ${request.command} the pod network with plugin "${type}": ${state}`,
    {
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/** The error that a failed plugin prints (CNI spec 1.0 §5 "Error"). */
function pluginMessage(stdout: string): string | undefined {
  try {
    const { msg, details } = JSON.parse(stdout) as { readonly msg?: string; readonly details?: string };
    return msg === undefined ? undefined : [msg, details].filter(Boolean).join('; ');
  } catch {
    return undefined;
  }
}

async function findPlugin(binDirs: readonly string[], type: string): Promise<string | undefined> {
  if (type.includes('/')) return undefined;
  for (const directory of binDirs) {
    const path = join(directory, type);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return undefined;
}

interface PluginOutput {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function execPlugin(path: string, request: CniRequest, binDirs: readonly string[]): Promise<PluginOutput> {
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    CNI_COMMAND: request.command,
    CNI_CONTAINERID: request.containerId,
    CNI_NETNS: request.netns,
    CNI_IFNAME: request.ifName,
    CNI_ARGS: request.args,
    CNI_PATH: binDirs.join(':'),
  };
  return new Promise((resolve, reject) => {
    const child = spawn(path, [], { env, timeout: PLUGIN_TIMEOUT_MS, killSignal: 'SIGKILL' });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({
        code: code ?? 128,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      });
    });
    // A plugin that fails early does not read its input.
    child.stdin.on('error', () => {});
    child.stdin.end(JSON.stringify(request.config));
  });
}
