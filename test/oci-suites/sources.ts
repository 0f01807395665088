import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** The upstream archive of a source package of Debian, which has the suite. */
export interface Source {
  readonly name: string;
  /** Below a mirror's root. */
  readonly path: string;
  /** As Debian's index of sources has it. */
  readonly sha256: string;
}

export const SOURCES = [
  {
    name: 'runtime-tools',
    path: 'pool/main/g/golang-github-opencontainers-runtime-tools/golang-github-opencontainers-runtime-tools_0.9.0.109.ge931285.orig.tar.xz',
    sha256: '203989a1ea98cf2aaced79155bbda09270b20db19b03376dde91ab12e5e6a0fe',
  },
  {
    name: 'crun',
    path: 'pool/main/c/crun/crun_1.8.1.orig.tar.xz',
    sha256: '01b68269d94e5fe11106a9b14c2f144be03b16ec798951f4efa6aa16ba9da29a',
  },
] as const satisfies readonly Source[];

/** What the suites are built with and run beside. */
const PACKAGES = [
  'golang-go',
  'golang-github-opencontainers-runtime-tools-dev',
  'golang-github-google-uuid-dev',
  'gcc',
  'libc6-dev',
  'libseccomp-dev',
  'python3',
  'runc',
  'crun',
] as const;

/** Those of PACKAGES that are not installed. */
export async function findMissingPackages(): Promise<readonly string[]> {
  const { stdout } = await execa('dpkg-query', ['-W', ...PACKAGES], { reject: false });
  const installed = stdout.split('\n').map((line) => line.split(/[\t:]/, 1)[0]);
  return PACKAGES.filter((name) => !installed.includes(name));
}

/** Fetches and unpacks a source to `directory`/name, as apt is configured. @throws Error when no mirror has it */
export async function fetchSource({ name, path, sha256 }: Source, directory: string): Promise<void> {
  const archive = join(directory, `${name}.tar`);
  const failures: string[] = [];
  for (const mirror of await listMirrors()) {
    // apt's own helper has its proxies and checks the digest.
    const args = ['download-file', `${mirror.replace(/\/$/, '')}/${path}`, archive, `SHA256:${sha256}`];
    const { exitCode, stderr } = await execa('/usr/lib/apt/apt-helper', args, { reject: false });
    if (exitCode === 0) {
      const target = join(directory, name);
      await mkdir(target);
      await execa('tar', ['-x', '--strip-components=1', '-f', archive, '-C', target]);
      return;
    }
    failures.push(stderr);
  }
  throw new Error(`Cannot fetch "${path}" from any mirror of apt: ${failures.join(' ')}`);
}

async function listMirrors(): Promise<readonly string[]> {
  const { stdout } = await execa('apt-get', ['indextargets', '--format', '$(REPO_URI)']);
  return [...new Set(stdout.split('\n').filter(Boolean))];
}
