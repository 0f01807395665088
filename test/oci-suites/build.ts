import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { fetchSource, SOURCES } from './sources.ts';

const TAP_GO = join(import.meta.dirname, 'tap-go');
/** Where Debian's packages put the sources of Go libraries. */
const DEBIAN_GOPATH = '/usr/share/gocode';
/** What crun's configure script would find here, as far as its tests' program asks. */
const CONFIG_H = '#define HAVE_ERROR_H 1\n#define HAVE_SECCOMP 1\n';

/** The built suites: `runtime-tools/bin/*`, and `crun/tests` with the program `init`. Kept in /var/tmp. */
export async function prepareSuites(log: (text: string) => void): Promise<string> {
  const recipe = [JSON.stringify(SOURCES), await readFile(join(TAP_GO, 'tap.go'), 'utf8')];
  const digest = createHash('sha256').update(recipe.join('\0')).digest('hex').slice(0, 16);
  const directory = `/var/tmp/tkadm-oci-suites-${digest}`;
  if (await stat(directory).catch(() => undefined)) return directory;
  const temporary = await mkdtemp('/var/tmp/tkadm-oci-suites-new-');
  try {
    for (const source of SOURCES) {
      log(`fetching the source of ${source.name}`);
      await fetchSource(source, temporary);
    }
    log('building');
    await buildRuntimeTools(temporary);
    await buildCrunTests(join(temporary, 'crun/tests'));
    await rename(temporary, directory);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return directory;
}

async function buildRuntimeTools(directory: string): Promise<void> {
  const gopath = join(directory, 'gopath');
  const packages = join(gopath, 'src/github.com');
  const sources = join(packages, 'opencontainers/runtime-tools');
  await mkdir(join(packages, 'opencontainers'), { recursive: true });
  await symlink('../../../../runtime-tools', sources);
  await cp(TAP_GO, join(packages, 'mndrix/tap-go'), { recursive: true });
  const env = {
    GO111MODULE: 'off',
    GOPATH: `${gopath}:${DEBIAN_GOPATH}`,
    GOCACHE: join(directory, 'gocache'),
    PWD: sources,
  };
  const build = async (...args: readonly string[]) => execa('go', ['build', ...args], { cwd: sources, env });
  const isStatic = ['-tags', 'netgo osusergo', '-ldflags', '-extldflags -static'];
  await build('-o', 'runtimetest', ...isStatic, './cmd/runtimetest');
  await mkdir(join(directory, 'runtime-tools/bin'));
  await build('-o', 'bin/', './validation/...');
  await rm(env.GOCACHE, { recursive: true });
}

async function buildCrunTests(directory: string): Promise<void> {
  await writeFile(join(directory, 'config.h'), CONFIG_H);
  await execa('gcc', ['-O', '-static', '-I.', '-o', 'init', 'init.c', '-lseccomp'], { cwd: directory });
}
