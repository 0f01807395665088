import { basename } from 'node:path';
import type { ClientChannel } from 'ssh2';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { Architecture } from '../../runtime/host/elf-architecture.ts';
import { type ArchiveFormat, type BundleArchives, readArchive } from './bundle-archive.ts';
import { waitForExit } from './channel.ts';
import type { SshHost } from './host.ts';

export interface UploadOptions {
  /** The bundle's directory on this machine, `/var/lib/tkadm/bundle/<id>`. */
  readonly directory: string;
  readonly archives: BundleArchives;
  readonly signal: AbortSignal;
  readonly onProgress: (sentBytes: number) => void;
}

/** What is asked of a machine by commands alone. */
type Machine = Pick<SshHost, 'name' | 'run'>;

/** Kernel machine name → Node.js's name of the architecture. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = { x86_64: 'x64', aarch64: 'arm64' };

/**
 * The architecture of a machine, by its kernel.
 * @throws JOIN_FAILED when there are no bundles for it.
 */
export async function readArchitecture(host: Machine): Promise<Architecture> {
  const { stdout, stderr, exitCode } = await host.run(['uname', '-sm']);
  const [system = '', machine = ''] = stdout.trim().split(' ');
  if (exitCode !== 0) throw new TkadmError('JOIN_FAILED', `Cannot look at "${host.name}": ${stderr.trim()}`);
  const architecture = system === 'Linux' ? ARCHITECTURES[machine] : undefined;
  if (architecture !== undefined) return architecture;
  const wanted = Object.keys(ARCHITECTURES).join(' or ');
  throw new TkadmError(
    'JOIN_FAILED',
    `Cannot join "${host.name}": it is ${system} ${machine}, the programs are for Linux ${wanted}`,
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

/** The bundle's programs are not for the machine. */
const ARCHITECTURE_DIFFERS = 46;

/**
 * Makes the bundle that was sent the machine's: one rename. Its Node.js must be of the same architecture (e_machine,
 * elf(5)) as the machine's own programs. One that was laid out for other machines gets this machine's part before.
 * @throws JOIN_FAILED
 */
export async function acceptBundle(host: Machine, directory: string): Promise<void> {
  const target = `${PATHS.bundle}/${basename(directory)}`;
  const script = `set -e
machine() { head -c 20 "$1" | tail -c 2 | cksum; }
node=$1.part/rootfs/usr/bin/node
[ "$(machine "$node")" = "$(machine /proc/self/exe)" ] || exit ${ARCHITECTURE_DIFFERS}
[ -e "$1.part/image.json" ] || "$node" "$1.part/rootfs/opt/tkadm/cli/tkadm.js" bundle complete
rm -rf "$1"
mv "$1.part" "$1"`;
  const { exitCode, stderr } = await host.run(['sh', '-c', script, 'sh', target]);
  if (exitCode === 0) return;
  if (exitCode === ARCHITECTURE_DIFFERS) {
    await removePartial(host, directory);
    throw new TkadmError(
      'JOIN_FAILED',
      `Cannot install the node bundle on "${host.name}": its programs are of another architecture than the machine's`,
    );
  }
  throw new TkadmError('JOIN_FAILED', `Cannot install the node bundle on "${host.name}": ${stderr.trim()}`);
}

/** Removes what was sent and not accepted. */
export async function removePartial(host: Machine, directory: string): Promise<void> {
  const { part, archive } = remotePaths(directory);
  await host.run(['rm', '-rf', part, archive]);
}

interface RemotePaths {
  /** The unpacked bundle before its rename. */
  readonly part: string;
  /** The stream as far as it came; the next transfer goes on there. */
  readonly archive: string;
}

function remotePaths(directory: string): RemotePaths {
  const target = `${PATHS.bundle}/${basename(directory)}`;
  return { part: `${target}.part`, archive: `${target}.tar.part` };
}

/** The archive there is not the one that was sent. */
const DIGEST_DIFFERS = 45;

/** Commands that unpack the archive "$1" into the directory "$2". */
const UNPACK: Readonly<Record<ArchiveFormat, string>> = {
  zstd: 'zstd -dcq "$1" | tar -x -C "$2" -f -',
  tar: 'tar -x -C "$2" -f "$1"',
};

/**
 * Sends the bundle as an archive and unpacks it beside its place: `acceptBundle` or `removePartial` follows. A
 * transfer that broke off goes on where it ended; the digest of the whole is checked there before it is unpacked.
 * @throws JOIN_FAILED, or the reason of the signal.
 */
export async function uploadBundle(host: SshHost, options: UploadOptions): Promise<void> {
  const paths = remotePaths(options.directory);
  const script = 'mkdir -p "$(dirname "$1")"; stat -c %s "$1" 2>/dev/null || echo 0; command -v zstd';
  const { stdout } = await host.run(['sh', '-c', script, 'sh', paths.archive]);
  const [held, zstd = ''] = stdout.split('\n');
  const format = zstd !== '' && (await options.archives.hasZstd()) ? 'zstd' : 'tar';
  const skipBytes = Number(held) || 0;
  const isWhole = await sendArchive(host, paths, { ...options, format, skipBytes });
  // What had been there was of something else.
  if (!isWhole && skipBytes > 0 && (await sendArchive(host, paths, { ...options, format, skipBytes: 0 })))
    return;
  if (isWhole) return;
  throw new TkadmError('JOIN_FAILED', `Cannot send the node bundle to "${host.name}": it arrived damaged`);
}

interface Sending extends UploadOptions {
  readonly format: ArchiveFormat;
  readonly skipBytes: number;
}

/** Sends the archive from a place on; false when what is there then has another digest. */
async function sendArchive(
  host: SshHost,
  { part, archive: path }: RemotePaths,
  { directory, archives, format, ...sending }: Sending,
): Promise<boolean> {
  const { skipBytes, signal } = sending;
  const archive = await archives.open(directory, format);
  signal.throwIfAborted();
  const write = skipBytes === 0 ? 'exec cat > "$1"' : 'exec cat >> "$1"';
  const input = readArchive(archive, sending);
  await expectSuccess(host, await host.openStream(['sh', '-c', write, 'sh', path], { input }), signal);
  // openssl uses the processor's own instructions, sha256sum of most systems does not.
  const unpack = `set -e; [ "$({ openssl dgst -sha256 -r "$1" 2>/dev/null || sha256sum "$1"; } | cut -c 1-64)" = "$3" ] || exit ${DIGEST_DIFFERS}
rm -rf "$2"; mkdir "$2"; ${UNPACK[format]}; rm "$1"; sync -f "$2" 2>/dev/null || sync`;
  const { exitCode, stderr } = await host.run(['sh', '-c', unpack, 'sh', path, part, archive.digest]);
  signal.throwIfAborted();
  if (exitCode === 0) return true;
  if (exitCode !== DIGEST_DIFFERS) throw notSent(host, stderr.trim() || `exit code ${exitCode}`);
  await host.run(['rm', '-f', path]);
  return false;
}

async function expectSuccess(host: SshHost, channel: ClientChannel, signal: AbortSignal): Promise<void> {
  let errors = '';
  channel.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  channel.resume();
  const exitCode = await waitForExit(channel);
  signal.throwIfAborted();
  if (exitCode === 0) return;
  throw notSent(host, errors.trim() || host.lossReason() || `exit code ${exitCode}`);
}

function notSent(host: SshHost, state: string): TkadmError {
  return new TkadmError('JOIN_FAILED', `Cannot send the node bundle to "${host.name}": ${state}`, {
    hint: `Look for free space: ssh ${host.name} df -h ${PATHS.state}; the same command goes on where this one ended`,
  });
}
