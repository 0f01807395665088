import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { type CommandHost, type TimedOutput, TKADM } from '../hosts/cluster.ts';

/** An emulated command may take as long as the slowest wait of tkadm itself. */
export const COMMAND_TIMEOUT_MS = 480_000;

/**
 * Whoever builds a cluster out of machines: tkadm and kubectl run on the computer of the tests, which is not emulated,
 * with the kubeconfig that `tkadm apply` keeps.
 */
export interface Administrator extends CommandHost {
  /** Writes a file beside the kubeconfig; returns its path. */
  write(name: string, text: string): Promise<string>;
  tkadm(args: readonly string[], timeoutMs?: number): Promise<TimedOutput>;
}

/** Gives a command a /var/lib of its own in which only tkadm's folder is kept: $1 is that folder. */
const WITH_STATE = `mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/tkadm
mount --bind "$1" /var/lib/tkadm
shift
exec "$@"`;

/** Everything that is kept lies in the directory. `enter` are words before each command: into a network namespace. */
export async function createAdministrator(
  directory: string,
  enter: readonly string[] = [],
): Promise<Administrator> {
  const state = join(directory, 'state');
  await mkdir(state, { recursive: true });
  const env = { KUBECONFIG: join(directory, 'admin.conf'), HOME: directory };
  const exec: CommandHost['exec'] = async (argv, options = {}) => {
    const [program = '', ...args] = [...enter, ...argv];
    const result = await execa(program, args, {
      reject: false,
      stripFinalNewline: false,
      timeout: options.timeoutMs ?? 0,
      // The hosts of other tests have their kubeconfig where kubeadm has it.
      env: { ...options.env, ...env },
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    });
    const { stdout, stderr } = result;
    return { exitCode: result.timedOut ? 124 : (result.exitCode ?? 125), stdout, stderr };
  };
  return {
    exec,
    async write(name, text) {
      const path = join(directory, name);
      await writeFile(path, text, { mode: 0o600 });
      return path;
    },
    async tkadm(args, timeoutMs = COMMAND_TIMEOUT_MS) {
      const startedAt = performance.now();
      const command = ['unshare', '--mount', 'sh', '-ec', WITH_STATE, 'sh', state, process.execPath, TKADM];
      const result = await exec([...command, ...args], { timeoutMs });
      const seconds = (performance.now() - startedAt) / 1000;
      return { ...result, all: `${result.stdout}${result.stderr}`, seconds };
    },
  };
}

export interface ClusterFileOptions {
  /** Private key of all machines. */
  readonly privateKey: string;
  readonly user: string;
  /** The first is the control plane. */
  readonly addresses: readonly string[];
  /** Documents of kubeadm beside the cluster. */
  readonly documents: string;
}

/** A file for `tkadm apply`. */
export function formatClusterFile({ privateKey, user, addresses, documents }: ClusterFileOptions): string {
  const hosts = addresses.map(
    (address, index) => `    - {address: ${address}, role: ${index === 0 ? 'control-plane' : 'worker'}}\n`,
  );
  return `apiVersion: tkadm.io/v1alpha1
kind: Cluster
metadata: {name: machines}
spec:
  ssh: {user: ${user}, identityFile: ${privateKey}, hostKeys: accept-new}
  hosts:
${hosts.join('')}---
${documents}`;
}
