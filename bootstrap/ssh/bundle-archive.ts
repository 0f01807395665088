import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError, TkadmError } from '../../runtime/base/errors.ts';

/** How an archive is packed; what has no zstd(1) gets it as it is. */
export type ArchiveFormat = 'zstd' | 'tar';

/** A bundle as one file that has no name any more. */
export interface BundleArchive {
  readonly file: FileHandle;
  readonly sizeBytes: number;
  /** SHA-256 of the whole, in hex. */
  readonly digest: string;
}

const FOLDER = '/var/tmp/tkadm-archive-';
const PIECE_BYTES = 1 << 18;
/** With these a bundle's archive is the same byte for byte each time, so that a transfer can be gone on with. */
const SAME = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];
/** Its output is the same with any number of threads. */
const COMPRESS: Readonly<Record<ArchiveFormat, readonly string[]>> = { zstd: ['-I', 'zstd -q -T0'], tar: [] };

/** The archives of one command: each is packed once, when it is first asked for, and sent to any number of machines. */
export class BundleArchives {
  readonly #signal: AbortSignal;
  readonly #archives = new Map<string, Promise<BundleArchive>>();
  #hasZstd: Promise<boolean> | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** True when this machine can pack with zstd. */
  hasZstd(): Promise<boolean> {
    this.#hasZstd ??= run(['zstd', '-V'], { stdout: 'ignore', signal: this.#signal }).then(
      () => true,
      () => false,
    );
    return this.#hasZstd;
  }

  /** @throws JOIN_FAILED */
  open(directory: string, format: ArchiveFormat): Promise<BundleArchive> {
    const key = `${format} ${directory}`;
    const archive = this.#archives.get(key) ?? pack(directory, format, this.#signal);
    this.#archives.set(key, archive);
    return archive;
  }

  async close(): Promise<void> {
    const archives = await Promise.allSettled(this.#archives.values());
    await Promise.all(
      archives.map((archive) => (archive.status === 'fulfilled' ? archive.value.file.close() : undefined)),
    );
  }
}

/** The archive's bytes from a place on; they end early when the signal comes. */
export async function* readArchive(
  { file, sizeBytes }: BundleArchive,
  {
    skipBytes,
    signal,
    onProgress,
  }: {
    readonly skipBytes: number;
    readonly signal: AbortSignal;
    /** Is told the place that was reached. */
    readonly onProgress: (position: number) => void;
  },
): AsyncGenerator<Buffer> {
  for (let position = skipBytes; position < sizeBytes && !signal.aborted; ) {
    const { bytesRead, buffer } = await file.read(
      Buffer.allocUnsafeSlow(PIECE_BYTES),
      0,
      PIECE_BYTES,
      position,
    );
    if (bytesRead === 0) return;
    position += bytesRead;
    onProgress(position);
    yield buffer.subarray(0, bytesRead);
  }
}

async function pack(directory: string, format: ArchiveFormat, signal: AbortSignal): Promise<BundleArchive> {
  let file: FileHandle | undefined;
  try {
    file = await openUnnamed();
    const argv = ['tar', '-c', ...SAME, ...COMPRESS[format], '-C', directory, '-f', '-', '.'];
    await run(argv, { stdout: file.fd, signal });
    const { size: sizeBytes } = await file.stat();
    const archive = { file, sizeBytes, digest: '' };
    const hash = createHash('sha256');
    for await (const piece of readArchive(archive, { skipBytes: 0, signal, onProgress: () => {} }))
      hash.update(piece);
    signal.throwIfAborted();
    return { ...archive, digest: hash.digest('hex') };
  } catch (error) {
    await file?.close();
    signal.throwIfAborted();
    const message = `Cannot pack the node bundle of "${directory}": ${formatError(error)}`;
    throw new TkadmError('JOIN_FAILED', message, { cause: error, hint: 'df -h /var/tmp' });
  }
}

/** A file that is gone with its last descriptor, however the command ends. */
async function openUnnamed(): Promise<FileHandle> {
  const folder = await mkdtemp(FOLDER);
  try {
    return await open(join(folder, 'archive'), 'wx+', 0o600);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a program to its end. @throws Error with what it said */
async function run(
  [program = '', ...args]: readonly string[],
  { stdout, signal }: { readonly stdout: number | 'ignore'; readonly signal: AbortSignal },
): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', stdout, 'pipe'], signal });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (exitCode !== 0) throw new Error(errors.trim() || `exit code ${exitCode}`);
}
