import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { digestRecipe, RECIPE } from './recipe.ts';

/** A finished system: what QEMU boots, and the key that opens it. */
export interface SystemDisk {
  readonly image: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly privateKey: string;
}

const DISK_SIZE = '6G';
const APT_DIRECTORY = '/etc/apt';

/**
 * The system disk of the machines, from Debian's packages by mmdebstrap. It is made once and kept below
 * /var/tmp, by the digest of its recipe.
 */
export async function prepareSystemDisk(log: (text: string) => void): Promise<SystemDisk> {
  const suite = await readSuite();
  const directory = `/var/tmp/tkadm-vm-${digestRecipe(suite)}`;
  const disk: SystemDisk = {
    image: join(directory, 'disk.img'),
    kernel: join(directory, 'kernel'),
    initrd: join(directory, 'initrd'),
    privateKey: join(directory, 'id_ed25519'),
  };
  if (await stat(disk.image).catch(() => undefined)) return disk;
  log(`making the machines' disk with mmdebstrap from the packages of ${suite}`);
  const temporary = await mkdtemp('/var/tmp/tkadm-vm-new-');
  try {
    await buildSystem(suite, temporary);
    await rename(temporary, directory).catch(async (error: NodeJS.ErrnoException) => {
      // Another run was first.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return disk;
}

/** The machine's own Debian release: its libraries are those that its Node.js was made for. */
export async function readSuite(): Promise<string> {
  const suite = /^VERSION_CODENAME="?(\w+)/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1];
  if (suite === undefined) throw new Error('/etc/os-release names no VERSION_CODENAME');
  return suite;
}

async function buildSystem(suite: string, directory: string): Promise<void> {
  const privateKey = join(directory, 'id_ed25519');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'machine', '-f', privateKey]);
  const root = join(directory, 'root');
  const overlay = join(directory, 'overlay');
  await writeFiles(overlay, {
    ...RECIPE.files,
    '/root/.ssh/authorized_keys': await readFile(`${privateKey}.pub`, 'utf8'),
  });
  await writeFiles(overlay, RECIPE.programs, 0o755);
  await writeFile(join(directory, 'setup'), RECIPE.setup);
  const arguments_ = [
    '--quiet',
    '--mode=root',
    '--variant=minbase',
    '--format=directory',
    `--include=${RECIPE.packages.join(',')}`,
    '--dpkgopt=path-exclude=/usr/share/man/*',
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-exclude=/usr/share/locale/*',
    '--dpkgopt=force-confold',
    ...(await readAptOptions()).map((option) => `--aptopt=${option}`),
    // Debian's own initial RAM disk would take half of the time and is not used.
    '--essential-hook=mkdir -p "$1/etc/initramfs-tools"; echo update_initramfs=no > "$1/etc/initramfs-tools/update-initramfs.conf"',
    `--customize-hook=cp -a --no-preserve=ownership ${overlay}/. "$1/"`,
    `--customize-hook=chroot "$1" sh < ${join(directory, 'setup')}`,
    suite,
    root,
    ...(await findAptSources(suite)),
  ];
  // It tidies up after itself when this process ends.
  await execa('setpriv', ['--pdeathsig', 'TERM', 'mmdebstrap', ...arguments_], {
    stdin: 'ignore',
    timeout: 600_000,
  });
  await rename(join(root, 'boot/kernel'), join(directory, 'kernel'));
  await rename(join(root, 'boot/initrd'), join(directory, 'initrd'));
  await buildExt4(root, join(directory, 'disk.img'), { size: DISK_SIZE, label: 'system' });
  await rm(root, { recursive: true });
  await rm(overlay, { recursive: true });
}

/** Makes a sparse ext4 image with the content of a directory. */
export async function buildExt4(
  directory: string,
  image: string,
  { size, label }: { readonly size: string; readonly label: string },
): Promise<void> {
  const options = ['-q', '-F', '-t', 'ext4', '-L', label, '-m', '0', '-d', directory, image, size];
  await execa('/usr/sbin/mke2fs', options);
}

export async function writeFiles(
  root: string,
  files: Readonly<Record<string, string>>,
  mode = 0o644,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
    await chmod(join(root, path), mode);
  }
}

/** The machine's package sources that have the suite; its mirrors and keys are used as they are. */
export async function findAptSources(suite: string): Promise<readonly string[]> {
  const parts = join(APT_DIRECTORY, 'sources.list.d');
  const names = await readdir(parts).catch(() => []);
  const candidates = [
    join(APT_DIRECTORY, 'sources.list'),
    ...names.filter((name) => /\.(list|sources)$/.test(name)).map((name) => join(parts, name)),
  ];
  const found: string[] = [];
  for (const path of candidates) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (new RegExp(`^[^#]*\\s${suite}(\\s|$)`, 'm').test(text)) found.push(path);
  }
  return found;
}

/** How the machine's apt reaches its mirrors: proxies, retries, what is verified. */
export async function readAptOptions(): Promise<readonly string[]> {
  const { stdout } = await execa('apt-config', ['dump']);
  return stdout
    .split('\n')
    .filter((line) => /^Acquire::(http|https|Check-|Retries|ForceIPv)\S* "[^"]/.test(line))
    .map((line) => line.replace(/;$/, ''));
}
