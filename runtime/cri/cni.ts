import { isIP } from 'node:net';
import { formatError, TkadmError } from '../base/errors.ts';
import { type CniConfigList, type CniPluginConfig, loadConfig } from './cni-config.ts';
import { type CniOptions, type CniRequest, type CniResult, runPlugin } from './cni-exec.ts';

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

export const POD_INTERFACE = 'eth0';
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
