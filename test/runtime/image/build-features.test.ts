import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import t from 'tap';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { loadInodes } from '../../../runtime/image/inodes.ts';
import { MergedTree } from '../../../runtime/image/merged-tree.ts';
import { skipReason as skip } from '../../cri/fixture.ts';
import { type ImageFixture, openImageFixture } from './fixture.ts';
import { freePort } from './registry.ts';

let fixture: ImageFixture;

t.before(async () => {
  if (!skip) fixture = await openImageFixture();
});
t.teardown(() => fixture?.close());

/** Text of a file of an image, undefined when it is not there. */
async function read(image: string, path: string): Promise<string | undefined> {
  return treeOf(image).readText(path);
}

function treeOf(image: string): MergedTree {
  const { images } = fixture.cri.runtime;
  return new MergedTree(images.lowerDirs(images.resolve(image)!), loadInodes());
}

function configOf(image: string) {
  return fixture.cri.runtime.images.resolve(image)?.config.config;
}

/** Every path of a directory of an image, sorted. */
async function list(image: string, directory: string): Promise<string> {
  const tree = treeOf(image);
  const walk = async (path: string): Promise<readonly string[]> => {
    const entry = await tree.lookup(path, false);
    if (!entry?.stats.isDirectory()) return [path.slice(directory.length + 1)];
    const names = await tree.list(entry);
    return (await Promise.all(names.map((name) => walk(`${path}/${name}`)))).flat();
  };
  return [...(await walk(directory))].sort().join(' ');
}

t.test('HEALTHCHECK and the ONBUILD instructions of a base', { skip }, async (t) => {
  const base = fixture.writeContext({
    Dockerfile: [
      'FROM busybox',
      'USER 0',
      'HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --start-interval=500ms --retries=4 CMD wget -q x',
      'ONBUILD COPY app /app',
      'ONBUILD RUN echo built >> /app/log',
      'ONBUILD ENV FROM_TRIGGER=yes',
    ].join('\n'),
    app: 'not copied here',
  });
  await fixture.build(base, { tags: ['trigger-base'] });
  t.match(configOf('trigger-base'), {
    OnBuild: ['COPY app /app', 'RUN echo built >> /app/log', 'ENV FROM_TRIGGER=yes'],
    Healthcheck: {
      Test: ['CMD-SHELL', 'wget -q x'],
      Interval: 5e9,
      Timeout: 60e9,
      StartPeriod: 2e9,
      StartInterval: 0.5e9,
      Retries: 4,
    },
  });
  t.equal(await read('trigger-base', '/app'), undefined);
  const child = fixture.writeContext({
    Dockerfile: 'FROM trigger-base\nRUN cat /app/log > /seen\n',
    'app/a': 'a',
  });
  const { lines } = await fixture.build(child, { tags: ['triggered'] });
  t.ok(lines.includes('[1] COPY app /app'), 'triggers are told like steps');
  t.equal(await read('triggered', '/app/a'), 'a');
  t.equal(await read('triggered', '/seen'), 'built\n', 'they come before the own instructions');
  t.ok(configOf('triggered')?.Env?.includes('FROM_TRIGGER=yes'));
  t.equal(configOf('triggered')?.OnBuild, undefined, 'grandchildren are not triggered');
  const none = fixture.writeContext({ Dockerfile: 'FROM trigger-base\nHEALTHCHECK NONE\n', 'app/a': '' });
  await fixture.build(none, { tags: ['no-health'] });
  t.match(configOf('no-health')?.Healthcheck, { Test: ['NONE'] });
});

t.test('ADD fetches addresses', { skip }, async (t) => {
  const content = 'fetched\n'.repeat(1000);
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    if (request.url === '/moved') response.writeHead(302, { location: '/files/tool.sh' }).end();
    else if (request.url === '/files/tool.sh') {
      response.setHeader('last-modified', 'Tue, 02 Jan 2024 03:04:05 GMT').end(content);
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const sum = sha256Digest(content);
  const context = fixture.writeContext({
    Dockerfile: [
      'FROM scratch',
      `ARG ORIGIN=${origin}`,
      'ADD $ORIGIN/files/tool.sh local /bin/',
      `ADD --chmod=755 --chown=1:2 --checksum=${sum} ${origin}/moved /opt/renamed`,
    ].join('\n'),
    local: 'local',
  });
  await fixture.build(context, { tags: ['added'] });
  t.equal(await read('added', '/bin/tool.sh'), content);
  t.equal(await read('added', '/bin/local'), 'local');
  const tree = treeOf('added');
  t.match((await tree.lookup('/bin/tool.sh'))?.stats, {
    uid: 0,
    gid: 0,
    mtimeMs: Date.UTC(2024, 0, 2, 3, 4, 5),
  });
  t.equal((await tree.lookup('/bin/tool.sh'))!.stats.mode & 0o777, 0o600);
  const renamed = (await tree.lookup('/opt/renamed'))!.stats;
  t.match([renamed.mode & 0o777, renamed.uid, renamed.gid], [0o755, 1, 2]);
  const before = asked;
  const again = await fixture.build(context, { tags: ['added'] });
  t.ok(asked > before, 'the server is asked each time');
  t.equal(
    again.lines.filter((line) => line.includes('from the cache')).length,
    2,
    'the same content is not new',
  );
  const other = sha256Digest('other');
  for (const [line, message] of [
    [`ADD --checksum=${other} ${origin}/files/tool.sh /x`, new RegExp(`line 2 has ADD .* but it is ${sum}`)],
    [`ADD ${origin}/none /x`, /line 2, ADD ".*\/none": HTTP 404/],
    [`ADD ${origin}/ /x/`, /HTTP 404/],
  ] as const) {
    const bad = fixture.writeContext({ Dockerfile: `FROM scratch\n${line}\n` });
    await t.rejects(fixture.build(bad), { message });
  }
  t.strictSame(readdirSync(join(fixture.cri.directory, 'root/images/tmp')), [], 'no download is left');
});

t.test('COPY with --parents and --exclude, and exclusions for one Dockerfile', { skip }, async (t) => {
  const context = fixture.writeContext({
    Dockerfile: [
      'FROM scratch',
      'COPY --parents src/a/one.c src/b /parents/',
      'COPY --parents src/./b/*.h /pivot/',
      'COPY --exclude=*.h --exclude=**/two.c src /excluded/',
      'COPY --link --parents=false top /plain',
    ].join('\n'),
    Other: 'FROM scratch\nCOPY . /all/\n',
    '.dockerignore': 'never\n',
    'Other.dockerignore': 'src/**\n!src/b/x.h\nOther*\nDockerfile\n.dockerignore\n',
    'src/a/one.c': '1',
    'src/a/two.c': '2',
    'src/b/x.h': 'h',
    'src/top.h': 't',
    top: 'top',
  });
  await fixture.build(context, { tags: ['copied'] });
  t.equal(await list('copied', '/parents'), 'src/a/one.c src/b/x.h');
  t.equal(await list('copied', '/pivot'), 'b/x.h');
  t.equal(
    await list('copied', '/excluded'),
    'a/one.c b/x.h',
    'a pattern without a slash is for the top alone',
  );
  t.equal(await read('copied', '/plain'), 'top');
  await fixture.build(context, { dockerfile: join(context, 'Other'), tags: ['other'] });
  t.equal(await list('other', '/all'), 'src/b/x.h top');
});

t.test('RUN with mounts', { skip }, async (t) => {
  const context = fixture.writeContext({
    Dockerfile: [
      'FROM busybox AS tools',
      'USER 0',
      'RUN mkdir -p /tools/deep && echo one > /tools/deep/one',
      'RUN echo two > /tools/deep/two && rm /tools/deep/one && echo three > /tools/deep/three',
      'FROM busybox',
      'USER 0',
      'WORKDIR /work',
      'RUN --mount=type=bind,source=input,target=from-context cat from-context/file > context.txt',
      'RUN --mount=from=tools,source=/tools/deep,dst=/mnt/tools ls /mnt/tools | cat > tools.txt',
      'RUN --mount=type=bind,target=/ctx if echo x > /ctx/new; then exit 1; fi',
      'RUN --mount=type=tmpfs,target=/scratch,size=1m echo x > /scratch/file; mount | grep /scratch > tmpfs.txt',
      'RUN --mount=type=cache,target=/cache,id=c,mode=0700 echo a >> /cache/log; cat /cache/log > cache1.txt',
      'RUN --mount=type=cache,target=/other,id=c,sharing=locked echo b >> /other/log; cat /other/log > cache2.txt',
      'RUN --mount=type=secret,id=key ls -l /run/secrets/key > mode.txt && wc -c < /run/secrets/key > length.txt',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell replaces it
      'RUN --mount=type=secret,id=key,env=KEY,target=/etc/key,mode=0444 echo ${#KEY} > env.txt; wc -c < /etc/key >> env.txt',
      'RUN --mount=type=secret,id=absent ls /run/secrets 2>&1 | cat > absent.txt',
      'RUN --network=none ls /sys/class/net > network.txt',
      'RUN echo "$HTTP_PROXY $https_proxy" > proxy.txt',
    ].join('\n'),
    'input/file': 'in the context',
  });
  const secret = 'very-secret-value';
  const changes = {
    tags: ['mounted'],
    buildArgs: { HTTP_PROXY: 'http://p:1', https_proxy: 'http://q:2' },
    secrets: { key: Buffer.from(secret).toString('base64') },
  };
  const { lines } = await fixture.build(context, changes);
  t.notOk(
    lines.some((line) => line.startsWith('warning')),
    'proxies need no ARG',
  );
  const expected = {
    'context.txt': 'in the context',
    'tools.txt': 'three\ntwo\n',
    'cache1.txt': 'a\n',
    'cache2.txt': 'a\nb\n',
    'length.txt': `${secret.length}\n`,
    'env.txt': `${secret.length}\n${secret.length}\n`,
    'proxy.txt': 'http://p:1 http://q:2\n',
    'network.txt': 'lo\n',
  };
  for (const [name, text] of Object.entries(expected))
    t.equal(await read('mounted', `/work/${name}`), text, name);
  t.match(await read('mounted', '/work/tmpfs.txt'), /tmpfs.*size=1024k/);
  t.match(await read('mounted', '/work/mode.txt'), /^-r-------- /);
  t.equal(await list('mounted', '/run'), '', 'no mount point is left');
  for (const path of ['/mnt', '/ctx', '/scratch', '/cache', '/other', '/etc/key', '/run']) {
    t.equal(await treeOf('mounted').lookup(path), undefined, `${path} is not in the image`);
  }
  t.notOk(existsSync(join(context, 'new')), 'the context is read-only');
  const images = join(fixture.cri.directory, 'root/images');
  t.equal(spawnSync('grep', ['-rq', secret, images]).status, 1, 'the secret is nowhere in the store');
  const secrets = join(fixture.cri.directory, 'state-secrets');
  t.strictSame(existsSync(secrets) ? readdirSync(secrets) : [], [], 'nor left beside it');
  t.equal(
    statSync(join(images, 'build-mounts', readdirSync(join(images, 'build-mounts'))[0]!)).mode & 0o777,
    0o700,
  );

  const again = await fixture.build(context, changes);
  const steps = again.lines.filter((line) => line.includes('from the cache')).length;
  t.equal(steps, 14, 'all from the cache');
  writeFileSync(join(context, 'input/file'), 'changed');
  await fixture.build(context, changes);
  t.equal(await read('mounted', '/work/context.txt'), 'changed', 'what a mount shows counts for the cache');
});

t.test('FROM asks the registry again when told to; the Dockerfile may come along', { skip }, async (t) => {
  const name = `127.0.0.1:${await freePort()}/base:1`;
  await fixture.cri.runtime.images.tag('busybox', name);
  const context = fixture.writeContext({ file: 'x' });
  const request = { dockerfile: undefined, dockerfileText: `FROM ${name}\nCOPY file /\n`, tags: ['text:1'] };
  await fixture.build(context, request);
  t.equal(await read('text:1', '/file'), 'x');
  await t.rejects(fixture.build(context, { ...request, pull: true }), { code: 'REGISTRY_UNREACHABLE' });
});

t.test(
  'ADD unpacks zstd archives',
  { skip: existsSync('/usr/bin/zstd') ? skip : 'needs zstd' },
  async (t) => {
    const context = fixture.writeContext({
      Dockerfile: 'FROM scratch\nADD archive.tar.zst single.zst /unpacked/\n',
      'in/file': 'packed',
      single: 'no archive',
    });
    mkdirSync(join(context, 'none'));
    execFileSync('tar', ['-C', join(context, 'in'), '--zstd', '-cf', join(context, 'archive.tar.zst'), '.']);
    execFileSync('zstd', ['-q', join(context, 'single'), '-o', join(context, 'single.zst')]);
    await fixture.build(context, { tags: ['zst'] });
    t.equal(await list('zst', '/unpacked'), 'file single.zst', 'a file alone stays as it is');
    const { images } = fixture.cri.runtime;
    const [layer] = images.resolve('zst')!.layers;
    t.ok((await buffer(await images.openLayer(layer!.diffId))).byteLength > 0);
    t.equal(
      readFileSync(join(images.lowerDirs(images.resolve('zst')!)[0]!, 'unpacked/file'), 'utf8'),
      'packed',
    );
  },
);
