import { spawn } from 'node:child_process';
import { basename, dirname } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { SshHost } from './host.ts';
import { waitForExit } from './host.ts';

export interface UploadOptions {
  /** The bundle's directory on this machine, `/var/lib/tkadm/bundle/<id>`. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly onProgress: (sentBytes: number) => void;
}

/** Kernel machine name → Node.js's name of the architecture. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'x64', aarch64: 'arm64' };

/**
 * Refuses a machine that cannot run this machine's bundle.
 * @throws JOIN_FAILED naming what differs.
 */
export async function checkArchitecture(host: SshHost, architecture: string): Promise<void> {
  const { stdout, stderr, exitCode } = await host.run(['uname', '-sm']);
  const [system = '', machine = ''] = stdout.trim().split(' ');
  if (exitCode !== 0) throw new TkadmError('JOIN_FAILED', `Cannot look at "${host.name}": ${stderr.trim()}`);
  if (system === 'Linux' && ARCHITECTURES[machine] === architecture) return;
  throw new TkadmError(
    'JOIN_FAILED',
    `Cannot join "${host.name}": it is ${system} ${machine}, this bundle is for linux ${architecture}`,
  );
}

/** Path of the command in a bundle that lies on a node. */
export function bundledCommand(id: string): readonly string[] {
  const rootfs = `${PATHS.bundle}/${id}/rootfs`;
  return [`${rootfs}/usr/bin/node`, `${rootfs}/opt/tkadm/cli/tkadm.js`];
}

/** True when the machine has the bundle that lies in this directory here. */
export async function hasBundle(host: SshHost, directory: string): Promise<boolean> {
  return (await host.stat(`${PATHS.bundle}/${basename(directory)}/image.json`)) !== undefined;
}

/** Makes the bundle that was sent the machine's: one rename. @throws JOIN_FAILED */
export async function acceptBundle(host: SshHost, directory: string): Promise<void> {
  const target = `${PATHS.bundle}/${basename(directory)}`;
  const script = 'rm -rf "$1" && mv "$1.part" "$1"';
  const { exitCode, stderr } = await host.run(['sh', '-c', script, 'sh', target]);
  if (exitCode === 0) return;
  throw new TkadmError('JOIN_FAILED', `Cannot install the node bundle on "${host.name}": ${stderr.trim()}`);
}

/** Removes what a transfer that broke off, or was not accepted, has left. */
export async function removePartial(host: SshHost, directory: string): Promise<void> {
  await host.run(['rm', '-rf', `${PATHS.bundle}/${basename(directory)}.part`]);
}

/**
 * Sends the bundle as a tar stream to a directory beside its place: `acceptBundle` or `removePartial` follows.
 * @throws JOIN_FAILED, or the reason of the signal.
 */
export async function uploadBundle(
  host: SshHost,
  { directory, signal, onProgress }: UploadOptions,
): Promise<void> {
  const target = `${PATHS.bundle}/${basename(directory)}`;
  const script = `set -e; mkdir -p "$1"; rm -rf "$2.part"; mkdir "$2.part"; tar -x -C "$2.part" -f -; sync -f "$2.part" 2>/dev/null || sync`;
  const tar = spawn('tar', ['-c', '-C', directory, '-f', '-', '.'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  tar.on('error', () => {});
  const packed = new Promise<number>((resolve) => tar.on('close', (code) => resolve(code ?? 255)));
  let tarError = '';
  tar.stderr.on('data', (chunk) => {
    tarError += chunk;
  });
  let sent = 0;
  const count = async function* () {
    for await (const chunk of tar.stdout) {
      sent += (chunk as Buffer).length;
      onProgress(sent);
      yield chunk as Buffer;
    }
  };
  const channel = await host.openStream(['sh', '-c', script, 'sh', dirname(target), target], {
    input: count(),
  });
  let remoteError = '';
  channel.stderr.on('data', (chunk: Buffer) => {
    remoteError += chunk;
  });
  channel.resume();
  const exitCode = await waitForExit(channel);
  signal.throwIfAborted();
  // A stream that ends between two files looks whole at the far end: this end has to have sent all of it, too.
  if (exitCode === 0 && (await packed) === 0) return;
  const state = (remoteError || tarError).trim() || `exit code ${exitCode}`;
  throw new TkadmError('JOIN_FAILED', `Cannot send the node bundle to "${host.name}": ${state}`, {
    hint: `Look for free space: ssh ${host.name} df -h ${PATHS.state}`,
  });
}
