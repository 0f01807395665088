import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { TkadmError } from '../../../runtime/base/errors.ts';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { buildImage } from '../../../runtime/image/build/build.ts';
import { BuildCache } from '../../../runtime/image/build/cache.ts';
import { parseGlob } from '../../../runtime/image/build/glob.ts';
import { parseIgnoreRules } from '../../../runtime/image/build/ignore.ts';
import { CacheLocks } from '../../../runtime/image/build/step-mounts.ts';
import { parseDockerfile } from '../../../runtime/image/dockerfile.ts';
import { loadInodes } from '../../../runtime/image/inodes.ts';
import { openImageStore } from '../../../runtime/image/store.ts';
import { createRandom } from '../../random.ts';

// What ends in time at all is quick here: one try that went wrong would take longer than the universe is old.

const LINES = [
  'FROM scratch',
  'FROM scratch AS one',
  'COPY a /a',
  'COPY --from=one /a /b',
  'COPY --chown=1:2 --chmod=755 a b* d/',
  'COPY <<EOF /here\nx $A\nEOF',
  'ADD --exclude=*.x . /all/',
  `ENV A=1 B="two words" C=$\{A:-x}`,
  'ENV OLD form of it',
  `ARG D=$\{A:+set}`,
  'LABEL a="b" c=d',
  'WORKDIR /w/$A',
  'USER 1:2',
  'CMD ["a", "b"]',
  'COPY ["a", "\\u0000"]',
  'ENTRYPOINT exec something',
  'HEALTHCHECK --interval=5s --retries=3 CMD true',
  'HEALTHCHECK NONE',
  'SHELL ["/bin/sh", "-c"]',
  'EXPOSE 80/tcp 90-95/udp',
  'VOLUME ["/v"]',
  'STOPSIGNAL SIGTERM',
  'ONBUILD COPY a /onbuild',
  'RUN --mount=type=cache,target=/c true',
  'RUN <<EOF\ntrue\nEOF',
  '# comment',
  '# escape=`',
  'MAINTAINER somebody',
] as const;
const PIECES = ['\\', '\n', '"', "'", '$', '${', '}', '<<', '[', ']', '--', '=', ' ', '\t', '\0', '..', '/'];
const WORDS = [...PIECES, '*', '**', '**/', '?', '[^a-z]', '[z-a]', '!', '\ud800', 'é', 'a', '\\\\', '#'];

const random = createRandom(20_261_121);

/** A Dockerfile, and some damage to it. */
function makeDockerfile(): string {
  const lines = Array.from({ length: 1 + random.int(8) }, () => random.pick(LINES));
  let text = (random.chance(0.9) ? ['FROM scratch', ...lines] : lines).join('\n');
  for (let damage = random.int(4); damage > 0; damage -= 1) {
    const at = random.int(text.length + 1);
    text = text.slice(0, at) + random.pick(WORDS) + text.slice(at + random.int(3));
  }
  return text;
}

/** True when it was refused. @throws anything but a refusal */
async function isRefused(work: () => unknown): Promise<boolean> {
  try {
    await work();
    return false;
  } catch (error) {
    if (error instanceof TkadmError) return true;
    throw error;
  }
}

t.test('parseDockerfile() refuses or parses whatever it gets', async (t) => {
  let refused = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const text = makeDockerfile();
    try {
      refused += Number(await isRefused(() => parseDockerfile(text)));
    } catch (error) {
      return t.fail(`${(error as Error).stack} of ${JSON.stringify(text)}`);
    }
  }
  t.ok(refused > 1000 && refused < 19_000, `${refused} of 20000 refused`);
});

t.test('buildImage() builds or refuses whatever it gets', { skip: process.getuid?.() !== 0 }, async (t) => {
  const directory = mkdtempSync('/tmp/tkadm-fuzz-');
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const store = await openImageStore({ root: join(directory, 'store'), log: SILENT_LOGGER });
  const contextDir = mkdtempSync(join(directory, 'context-'));
  for (const name of ['a', 'b1', 'b2.x']) writeFileSync(join(contextDir, name), name);
  const mountDirectory = join(directory, 'mounts');
  const now = () => new Date(0);
  const cache = new BuildCache({ directory: join(directory, 'cache'), mountDirectory, store, now });
  await cache.load();
  const puller = { pull: () => Promise.reject(new TkadmError('REGISTRY_UNREACHABLE', 'Cannot pull')) };
  let refused = 0;
  for (let round = 0; round < 300; round += 1) {
    const dockerfile = makeDockerfile();
    const work = () =>
      buildImage({
        store,
        puller,
        inodes: loadInodes(),
        storageDriver: 'overlay',
        runStep: async () => 0,
        workDir: join(directory, 'store/tmp'),
        cache,
        mountCacheDir: mountDirectory,
        secretsDir: join(directory, 'secrets'),
        cacheLocks: new CacheLocks(),
        secrets: {},
        contextDir,
        dockerfile,
        tags: ['fuzz:1'],
        buildArgs: { D: '${' },
        usesCache: true,
        pullsAlways: false,
        architecture: 'amd64',
        now,
        onProgress: () => {},
      });
    try {
      refused += Number(await isRefused(work));
    } catch (error) {
      return t.fail(`round ${round}: ${(error as Error).stack} of ${JSON.stringify(dockerfile)}`);
    }
  }
  t.ok(refused > 20 && refused < 290, `${refused} of 300 refused`);
});

t.test('parseIgnoreRules() takes whatever it gets', (t) => {
  for (let round = 0; round < 5000; round += 1) {
    const text = Array.from({ length: random.int(30) }, () => random.pick([...WORDS, '\n'])).join('');
    const path = Array.from({ length: random.int(20) }, () => random.pick(WORDS)).join('');
    try {
      parseIgnoreRules(text).isIgnored(path);
    } catch (error) {
      t.fail(`${(error as Error).stack} of ${JSON.stringify([text, path])}`);
      break;
    }
  }
  t.end();
});

/** What a matcher that tries one way after the other never gets to the end of. */
const HARD: readonly (readonly [title: string, pattern: string, text: string])[] = [
  ['stars', `${'*a'.repeat(60)}b`, 'a'.repeat(400)],
  ['directories', `${'**/'.repeat(300)}b`, 'a/'.repeat(300)],
  ['any', `${'**a'.repeat(60)}b`, 'a'.repeat(400)],
];

t.test('parseGlob() needs no more time for hard patterns', (t) => {
  for (const [title, pattern, text] of HARD) {
    const glob = parseGlob(pattern);
    t.equal(glob.test(text), false, title);
    t.equal(glob.test(`${text}b`), true, title);
  }
  t.end();
});

const LONG: Readonly<Record<string, string>> = {
  'here-documents': 'RUN <<A\nA\n'.repeat(50_000),
  continuations: `RUN a${'\\\n'.repeat(200_000)}`,
  quotes: `ENV ${'a="b" '.repeat(50_000)}`,
  digits: `RUN ${'1'.repeat(200_000)}<<`,
  blanks: `RUN a${' '.repeat(200_000)}\\`,
  flags: `COPY ${'--exclude=x '.repeat(20_000)}a /`,
};

t.test('parseDockerfile() reads long files', (t) => {
  for (const [title, text] of Object.entries(LONG))
    t.equal(parseDockerfile(`FROM x\n${text}`).stages.length, 1, title);
  t.end();
});
