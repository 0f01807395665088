import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { formatImageTable } from '../../../bootstrap/commands/image-view.ts';
import { callImages } from '../../../runtime/cri/image-client.ts';
import { MEDIA_TYPES } from '../../../runtime/image/oci-image.ts';
import { RegistryClient } from '../../../runtime/image/registry.ts';
import { cgroupDirectories } from '../../container/fixture.ts';
import { skipReason } from '../../cri/fixture.ts';
import { type ImageFixture, openImageFixture } from './fixture.ts';
import { registrySkip, startRegistry, type TestRegistry } from './registry.ts';
import { makeImage, makeTar, type SampleImage } from './sample.ts';

const skip = skipReason || registrySkip;
const CLI = join(import.meta.dirname ?? '.', '../../../bootstrap/cli.ts');
let fixture: ImageFixture;
let registry: TestRegistry;
let image: SampleImage;

t.before(async () => {
  if (skip) return;
  fixture = await openImageFixture();
  registry = await startRegistry({ directory: join(fixture.directory, 'registry') });
  image = await makeImage('over the socket');
  await push('1');
});
t.teardown(async () => {
  await registry?.close();
  await fixture?.close();
});

async function push(tag: string): Promise<void> {
  const client = new RegistryClient({ host: registry.host, repository: 'apps/x', isPlainHttp: true });
  await client.pushBlob(image.configDigest, image.config);
  await client.pushBlob(image.layerDigest, image.layer);
  await client.pushManifest(tag, MEDIA_TYPES.manifest, image.manifest);
}

interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `tkadm image ...` as a process of its own. */
async function tkadm(
  args: readonly string[],
  socketPath = fixture.socketPath,
  input?: Buffer,
): Promise<CommandResult> {
  const child = spawn('node', ['--import=tsx', CLI, 'image', ...args], {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', TKADM_IMAGE_SOCKET: socketPath },
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (output.stdout += chunk));
  child.stderr.on('data', (chunk) => (output.stderr += chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...output };
}

t.test('serveImages() is for root alone', { skip }, async (t) => {
  t.equal(statSync(fixture.socketPath).mode & 0o777, 0o600);
});

t.test('serveImages() refuses unknown calls and bodies', { skip }, async (t) => {
  const send = (method: string, path: string, body = '') =>
    new Promise<string>((resolve, reject) => {
      const outgoing = request({ socketPath: fixture.socketPath, method, path }, async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve(text);
      });
      outgoing.on('error', reject).end(body);
    });
  t.match(JSON.parse(await send('GET', '/none')), { error: { code: 'IMAGE_REQUEST_INVALID' } });
  t.match(JSON.parse(await send('PUT', '/images')), { error: { code: 'IMAGE_REQUEST_INVALID' } });
  t.match(JSON.parse(await send('POST', '/pull', 'no json')), { error: { code: 'IMAGE_REQUEST_INVALID' } });
});

t.test('tkadm image pulls, lists, loads and removes', { skip }, async (t) => {
  const name = `${registry.host}/apps/x:1`;
  const pulled = await tkadm(['pull', name]);
  t.equal(pulled.code, 0, pulled.stderr);
  const short = image.configDigest.slice(7, 19);
  t.ok(pulled.stdout.endsWith(`Pulled ${name} (${short})\n`), pulled.stdout);
  const [listed, asJson] = await Promise.all([tkadm(['ls']), tkadm(['ls', '-o', 'json'])]);
  t.match(
    listed.stdout,
    new RegExp(`^REPOSITORY +TAG +IMAGE ID +SIZE\\n(.*\\n)*${registry.host}/apps/x +1 +${short} +15B\\n`),
  );
  const json = JSON.parse(asJson.stdout);
  t.ok(json.images.some((row: { repoTags: string[] }) => row.repoTags.includes(name)));
  t.match((await tkadm(['rm', name])).stdout, /^Removed /);
  const gone = await tkadm(['rm', name]);
  t.equal(gone.code, 6);
  t.match(gone.stderr, /error: Cannot remove image ".*": no such image\n/);

  const manifest = JSON.stringify([{ Config: 'c.json', RepoTags: ['loaded:1'], Layers: ['l.tar'] }]);
  const archive = await makeTar({ 'c.json': image.config, 'l.tar': image.tar, 'manifest.json': manifest });
  writeFileSync(join(fixture.directory, 'a.tar'), archive);
  const [loaded, fromInput, noFile] = await Promise.all([
    tkadm(['load', '-i', join(fixture.directory, 'a.tar')]),
    tkadm(['load', '-i', '-'], fixture.socketPath, archive),
    tkadm(['load', '-i', '/none.tar']),
  ]);
  t.equal(loaded.stdout, `Loaded docker.io/library/loaded:1 (${short})\n`, loaded.stderr);
  t.equal(fromInput.stdout, loaded.stdout, fromInput.stderr);
  t.match(noFile.stderr, /Cannot read "\/none.tar"/);
});

/** "user:secret" as htpasswd(1) writes it with bcrypt. */
const HTPASSWD = 'user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';

t.test('tkadm image tags, pushes and saves what other programs read', { skip }, async (t) => {
  const context = fixture.writeContext({
    Dockerfile: 'FROM busybox\nUSER 0\nRUN echo made > /file; echo two > /other\nLABEL a=b\n',
  });
  const built = await tkadm(['build', context, '-t', 'team/app:1']);
  t.equal(built.code, 0, built.stderr);
  const { id } = fixture.cri.runtime.images.resolve('team/app:1')!;
  const name = `${registry.host}/team/app:1`;
  t.match(
    (await tkadm(['push', name])).stderr,
    /no image has this name\n {2}try: tkadm image ls; tkadm image tag/,
  );
  t.match((await tkadm(['tag', 'team/app:1', name])).stdout, /^Tagged /);
  const pushed = await tkadm(['push', name]);
  t.match(
    pushed.stdout,
    new RegExp(`pushing .*\\nPushed ${name}@sha256:[0-9a-f]{64}\\n$`, 's'),
    pushed.stderr,
  );
  const again = await tkadm(['push', name]);
  t.notMatch(again.stdout, /pushing/, 'nothing is sent twice');

  // skopeo compares every digest that it copies.
  const copy = (source: string) => {
    const target = join(fixture.directory, `copy-${randomBytes(4).toString('hex')}`);
    execFileSync('skopeo', ['copy', '--insecure-policy', '--src-tls-verify=false', source, `dir:${target}`], {
      stdio: 'pipe',
    });
    const manifest = JSON.parse(readFileSync(join(target, 'manifest.json'), 'utf8'));
    return manifest.config.digest as string;
  };
  t.equal(copy(`docker://${name}`), id);
  const archive = join(fixture.directory, 'saved.tar');
  const saved = await tkadm(['save', '-f', archive, 'team/app:1', name]);
  t.equal(saved.code, 0, saved.stderr);
  t.equal(copy(`docker-archive:${archive}:team/app:1`), id);
  t.equal(copy(`oci-archive:${archive}:${name}`), id);

  await tkadm(['rm', id]);
  t.equal(fixture.cri.runtime.images.resolve(id), undefined);
  const loaded = await tkadm(['load', '-i', archive]);
  t.equal(loaded.code, 0, loaded.stderr);
  t.equal(fixture.cri.runtime.images.resolve('team/app:1')?.id, id);
  t.equal(fixture.cri.runtime.images.resolve(name)?.id, id);
  await tkadm(['rm', id]);
  t.equal((await tkadm(['pull', name])).code, 0);
  t.equal(fixture.cri.runtime.images.resolve(name)?.id, id, 'the registry gives the same image back');

  const [details] = JSON.parse((await tkadm(['inspect', name])).stdout);
  t.match(details, { id, config: { config: { Labels: { a: 'b' } } } });
  t.match((await tkadm(['history', name])).stdout, /^CREATED .*\n.*LABEL a=b\n.*RUN echo made/);
  t.match((await tkadm(['save', '-f', '/none/x.tar', name])).stderr, /Cannot save to "\/none\/x.tar"/);
  t.match((await tkadm(['save', '-f', archive, 'none'])).stderr, /Cannot save "none": no such image/);
});

t.test("tkadm image push proves who it is with docker's file", { skip }, async (t) => {
  const closed = await startRegistry({ directory: join(fixture.directory, 'closed'), htpasswd: HTPASSWD });
  t.teardown(() => closed.close());
  const name = `${closed.host}/private/x:1`;
  await fixture.build(fixture.writeContext({ Dockerfile: 'FROM busybox\n' }), { tags: [name] });
  const denied = await tkadm(['push', name]);
  t.match(denied.stderr, /HTTP 401\n *try: .*--authfile/);
  const authfile = join(fixture.directory, 'auth.json');
  const auth = Buffer.from('user:secret').toString('base64');
  writeFileSync(authfile, JSON.stringify({ auths: { [closed.host]: { auth } } }), { mode: 0o600 });
  const pushed = await tkadm(['push', name, '--authfile', authfile]);
  t.equal(pushed.code, 0, pushed.stderr);
  t.equal((await tkadm(['rm', name])).code, 0);
  t.equal((await tkadm(['pull', name, '--authfile', authfile])).code, 0);
  writeFileSync(authfile, JSON.stringify({ credHelpers: { [closed.host]: 'vault' } }));
  t.match((await tkadm(['push', name, '--authfile', authfile])).stderr, /credential helper "vault"/);
  writeFileSync(authfile, `{"auths": ${auth}`);
  const damaged = await tkadm(['push', name, '--authfile', authfile]);
  t.match(damaged.stderr, /it is no JSON/);
  t.notMatch(damaged.stderr, auth.slice(0, 6));
});

t.test('tkadm image load of something that is no archive says so', { skip }, async (t) => {
  const path = join(fixture.directory, 'no-archive');
  // More than a socket holds, so that the answer comes while the file is still sent.
  writeFileSync(path, randomBytes(24_000_000));
  const inputs: readonly (readonly [string, readonly string[], Buffer?])[] = [
    ['random bytes', ['load', '-i', path]],
    ['text', ['load', '-i', '-'], Buffer.from('no archive\n'.repeat(500_000))],
    ['nothing', ['load', '-i', '-'], Buffer.alloc(0)],
  ];
  for (const [title, args, input] of inputs) {
    for (let run = 0; run < 3; run += 1) {
      const { code, stderr } = await tkadm(args, fixture.socketPath, input);
      t.equal(code, 6, title);
      t.match(stderr, /error: Cannot .*archive/, title);
      t.notMatch(stderr, /EPIPE|ECONNRESET|reach the runtime/, title);
    }
  }
  t.equal((await tkadm(['ls'])).code, 0, 'the socket goes on');
});

t.test('tkadm image build shows its steps and the line that fails', { skip }, async (t) => {
  const context = fixture.writeContext({ Dockerfile: 'FROM busybox\nARG A\nUSER 0\nRUN echo "got $A"\n' });
  const bad = fixture.writeContext({ Dockerfile: 'FROM busybox\nRUN exit 4\n' });
  const [built, failed] = await Promise.all([
    tkadm(['build', context, '-t', 'cli:1', '-t', 'cli:2', '--build-arg', 'A=b']),
    tkadm(['build', bad, '-t', 'x']),
  ]);
  t.equal(built.code, 0, built.stderr);
  t.match(
    built.stdout,
    /\[3\] RUN echo "got \$A"\ngot b\nBuilt docker.io\/library\/cli:1, docker.io\/library\/cli:2 \(/,
  );
  t.equal(failed.code, 6);
  t.match(failed.stderr, /error: Cannot build line 2, RUN exit 4: exit code 4/);
});

t.test('tkadm image says how to start a runtime that is not there', { skip }, async (t) => {
  const { code, stderr } = await tkadm(['ls'], '/run/no-such.sock');
  t.equal(code, 6);
  t.match(
    stderr,
    /error: Cannot reach the runtime: "\/run\/no-such.sock": ENOENT\n {2}try: tkadm service start\n/,
  );
});

t.test('a build ends when its client goes', { skip }, async (t) => {
  const context = fixture.writeContext({ Dockerfile: 'FROM busybox\nRUN echo started; sleep 100\n' });
  const abort = new AbortController();
  const body = {
    contextDir: context,
    dockerfile: join(context, 'Dockerfile'),
    tags: ['x'],
    buildArgs: {},
    usesCache: true,
  };
  const onProgress = (line: string) => {
    if (line === 'started') abort.abort(new Error('interrupted'));
  };
  const call = callImages(fixture.socketPath, 'build', { body, onProgress, signal: abort.signal });
  await t.rejects(call, { message: 'interrupted' });
  t.equal(fixture.cri.runtime.images.resolve('x'), undefined);
  const steps = () =>
    cgroupDirectories(fixture.cgroupParent).flatMap((path) => readdirSync(path, { withFileTypes: true }));
  const count = () => steps().filter((entry) => entry.isDirectory()).length;
  const files = () => readdirSync(join(fixture.cri.directory, 'root/images/tmp'));
  for (let attempt = 0; count() + files().length > 0 && attempt < 100; attempt += 1) await sleep(50);
  t.equal(count(), 0, 'the container of the step is gone');
  t.strictSame(files(), [], 'and its files');
});

t.test('callImages() removes one name of several, then the image', { skip }, async (t) => {
  const context = fixture.writeContext({ Dockerfile: 'FROM busybox\nLABEL unique=names\n' });
  const { image: built } = await fixture.build(context, { tags: ['names:1', 'names:2'] });
  const { images } = fixture.cri.runtime;
  t.strictSame(await callImages(fixture.socketPath, 'remove', { name: 'names:1' }), { id: built.id });
  t.strictSame(images.resolve(built.id)?.repoTags, ['docker.io/library/names:2']);
  await callImages(fixture.socketPath, 'remove', { name: 'names:2' });
  t.equal(images.resolve(built.id), undefined);
  await fixture.build(context, { tags: ['names:1', 'names:2'] });
  await callImages(fixture.socketPath, 'remove', { name: built.id });
  t.equal(images.resolve('names:2'), undefined, 'by id with all names');
});

t.test('PullImage asks the registry, and goes on without it', { skip }, async (t) => {
  const { client, runtime } = fixture.cri;
  const name = `${registry.host}/apps/x:cri`;
  await push('cri');
  const pull = (auth?: { username: string; password: string }) =>
    client.pullImage({ image: { image: name }, ...(auth ? { auth } : {}) });
  t.equal((await pull({ username: 'u', password: 'p' })).imageRef, image.configDigest);
  await t.rejects(client.pullImage({ image: { image: `${registry.host}/apps/x:none` } }), {
    message: /MANIFEST_UNKNOWN/,
  });
  await registry.close();
  t.equal((await pull()).imageRef, image.configDigest, 'what is in the store when there is no registry');
  const digest = `${registry.host}/apps/x@${image.manifestDigest}`;
  t.equal((await client.pullImage({ image: { image: digest } })).imageRef, image.configDigest);
  await runtime.images.remove(name);
  await t.rejects(pull(), { message: /Cannot reach registry/ });
});

t.test('formatImageTable() shows a row for each tag', (t) => {
  const row = { repoDigests: [], isPinned: false };
  const table = formatImageTable([
    {
      ...row,
      id: `sha256:${'b'.repeat(64)}`,
      repoTags: ['b.example:5000/x:1', 'a.example/x:2'],
      sizeBytes: 4_300_000,
    },
    { ...row, id: `sha256:${'a'.repeat(64)}`, repoTags: [], sizeBytes: 999 },
  ]);
  t.equal(
    table,
    [
      'REPOSITORY        TAG     IMAGE ID      SIZE',
      '<none>            <none>  aaaaaaaaaaaa  999B',
      'a.example/x       2       bbbbbbbbbbbb  4.3MB',
      'b.example:5000/x  1       bbbbbbbbbbbb  4.3MB',
      '',
    ].join('\n'),
  );
  t.end();
});
