import { readFile } from 'node:fs/promises';
import { hostname as readHostname } from 'node:os';
import type { Logger } from '../base/log.ts';
import { PATHS } from '../base/paths.ts';
import { defaultKubeletConfig, type KubeletConfig, parseKubeletConfig } from './kubelet-config.ts';
import { type MachineFacts, readDefaultAddress, readMachineFacts } from './node/machine.ts';
import type { NodeIdentity } from './node/node-object.ts';
import { parseLabels, parseTaints } from './node/registration.ts';
import type { AgentFlags } from './options.ts';

/** What the agent works with from its start to its end: flags, configuration file and machine. */
export interface AgentSettings {
  readonly flags: AgentFlags;
  readonly config: KubeletConfig;
  /** Path of the runtime's socket. */
  readonly runtimeSocket: string;
  readonly identity: NodeIdentity;
  readonly machine: MachineFacts;
  /** Manifests of static pods; none when undefined. */
  readonly staticPodPath: string | undefined;
}

/** Reads the configuration file and looks at the machine. @throws AGENT_CONFIG_INVALID, FILE_READ */
export async function loadAgentSettings(flags: AgentFlags, log: Logger): Promise<AgentSettings> {
  const config = await loadConfig(flags, log);
  const hostname = flags['hostname-override'] ?? readHostname();
  return {
    flags,
    config,
    runtimeSocket: stripScheme(
      flags['container-runtime-endpoint'] ?? config.containerRuntimeEndpoint ?? PATHS.runtimeSocket,
    ),
    identity: {
      name: hostname.toLowerCase(),
      hostname,
      addresses: flags['node-ip']?.split(',') ?? [await readDefaultAddress()],
      labels: parseLabels(flags['node-labels']),
      taints: parseTaints(flags['register-with-taints'], config.registerWithTaints),
    },
    machine: await readMachineFacts(flags['root-dir']),
    staticPodPath: config.staticPodPath ?? flags['pod-manifest-path'],
  };
}

async function loadConfig(flags: AgentFlags, log: Logger): Promise<KubeletConfig> {
  if (flags['pod-infra-container-image'])
    log.info('Ignoring --pod-infra-container-image: the runtime chooses');
  if (!flags.config) return defaultKubeletConfig();
  const { config, unfollowed } = parseKubeletConfig(await readFile(flags.config, 'utf8'), flags.config);
  for (const { path, reason } of unfollowed)
    log.warn(`Configuration field "${path}" has no effect: ${reason}`);
  return config;
}

function stripScheme(endpoint: string): string {
  return endpoint.replace(/^unix:\/\//, '');
}
