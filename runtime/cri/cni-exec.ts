import { spawn } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError, TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

/** The result of ADD (CNI spec 1.0 §5), as far as it is read here. */
export interface CniResult {
  readonly cniVersion?: string;
  readonly ips?: readonly { readonly address: string; readonly gateway?: string }[];
  readonly [key: string]: unknown;
}

/** The commands that are used. */
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

/** Where plugins and their configuration are found. */
export interface CniOptions {
  readonly confDir: string;
  readonly binDirs: readonly string[];
  readonly plugins: readonly InProcessCniPlugin[];
  readonly log: Logger;
}

const PLUGIN_TIMEOUT_MS = 60_000;

/** Runs a plugin, in the runtime or as a program; undefined when it answers nothing. @throws CNI_PLUGIN */
export async function runPlugin(
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
