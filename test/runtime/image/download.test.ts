import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { MEDIA_TYPES } from '../../../runtime/image/oci-image.ts';
import { createRegistryPuller, type PullProgress } from '../../../runtime/image/pull.ts';
import { openImageStore } from '../../../runtime/image/store.ts';
import { tarOf } from './layer-fixture.ts';
import { seededRandom } from './random.ts';
import { freePort } from './registry.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const root = mkdtempSync('/tmp/tkadm-download-');
t.teardown(() => rmSync(root, { recursive: true, force: true }));

const random = seededRandom(5);
const CONTENT = Buffer.from(Array.from({ length: 3_000_000 }, () => random() & 0xff));
const TAR = tarOf([{ name: 'file', type: 'file', content: CONTENT }]);
const LAYER = gzipSync(TAR, { level: 0 });

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

interface FaultyRegistry {
  readonly host: string;
  /** "GET /v2/..." with Range and Authorization, in order. */
  readonly seen: { readonly url: string; readonly range?: string; readonly authorization?: string }[];
}

async function listen(t: Test, server: Server & { closeAllConnections(): void }): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const config = Buffer.from(
  JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [sha256Digest(TAR)] },
  }),
);

function manifestOf(size = LAYER.byteLength): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: { mediaType: MEDIA_TYPES.config, digest: sha256Digest(config), size: config.byteLength },
      layers: [{ mediaType: MEDIA_TYPES.layerTarGzip, digest: sha256Digest(LAYER), size }],
    }),
  );
}

/** A registry of one image, whose layer is answered by the test. */
function registryOf(layer: Answer, manifest = manifestOf()) {
  const seen: FaultyRegistry['seen'][number][] = [];
  const answer: Answer = (request, response) => {
    const { url = '', headers } = request;
    seen.push({
      url,
      ...(headers.range ? { range: headers.range } : {}),
      ...(headers.authorization ? { authorization: headers.authorization } : {}),
    });
    if (url.includes('/manifests/')) response.setHeader('content-type', MEDIA_TYPES.manifest).end(manifest);
    else if (url.endsWith(sha256Digest(config))) response.end(config);
    else layer(request, response);
  };
  return { answer, seen };
}

async function openRegistry(t: Test, layer: Answer, manifest?: Buffer): Promise<FaultyRegistry> {
  const { answer, seen } = registryOf(layer, manifest);
  return { host: await listen(t, createServer(answer)), seen };
}

async function pull(
  t: Test,
  name: string,
  registries: object = {},
  onProgress?: (step: PullProgress) => void,
) {
  const directory = mkdtempSync(join(root, 'store-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const registriesPath = join(directory, 'registries.json');
  writeFileSync(registriesPath, JSON.stringify(registries));
  const store = await openImageStore({ root: join(directory, 'images'), log: SILENT_LOGGER });
  const puller = createRegistryPuller({ store, architecture: 'amd64', registriesPath });
  const image = await puller.pull(name, onProgress ? { onProgress } : {});
  return readFileSync(join(store.lowerDirs(image)[0]!, 'file'));
}

/** The layer from where the client asks for it, if the server knows ranges, and at most so many bytes of it. */
function sendLayer(
  request: IncomingMessage,
  response: ServerResponse,
  knowsRanges: boolean,
  maxBytes: number,
): void {
  const start = knowsRanges ? Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
  response.writeHead(start > 0 ? 206 : 200, { 'content-length': LAYER.byteLength - start });
  response.write(LAYER.subarray(start, start + maxBytes), () => {
    if (start + maxBytes < LAYER.byteLength) response.destroy();
    else response.end();
  });
}

t.test('a download goes on where its connection broke off', { skip }, async (t) => {
  const registry = await openRegistry(t, (request, response) => sendLayer(request, response, true, 700_000));
  const steps: PullProgress[] = [];
  t.ok((await pull(t, `${registry.host}/x:1`, {}, (step) => steps.push(step))).equals(CONTENT));
  const ranges = registry.seen.flatMap(({ range }) => range ?? []).map((range) => Number(/\d+/.exec(range)));
  t.ok(ranges.length >= 3, `${ranges.length} times`);
  t.strictSame(
    ranges,
    [...ranges].sort((a, b) => a - b),
    'each later than the one before',
  );
  const done = steps.map(({ doneBytes }) => doneBytes);
  t.strictSame(
    done,
    [...done].sort((a, b) => a - b),
    'progress only grows',
  );
  t.equal(done.at(-1), LAYER.byteLength);
  t.ok(done.length >= 4, 'and is told on the way');
});

t.test('a download from a server without ranges passes over what it has', { skip }, async (t) => {
  let count = 0;
  const registry = await openRegistry(t, (request, response) => {
    count += 1;
    sendLayer(request, response, false, count * 1_600_000);
  });
  t.ok((await pull(t, `${registry.host}/x:1`)).equals(CONTENT));
  t.equal(count, 2);
});

t.test('a registry that is busy is asked again', { skip }, async (t) => {
  const answers = [503, 429, 500];
  const registry = await openRegistry(t, (request, response) => {
    const status = answers.shift();
    if (status) response.writeHead(status, { 'retry-after': '0.1' }).end();
    else sendLayer(request, response, true, LAYER.byteLength);
  });
  t.ok((await pull(t, `${registry.host}/x:1`)).equals(CONTENT));
  t.strictSame(answers, []);
});

t.test('a download that brings nothing ends with an error that says so', { skip }, async (t) => {
  const broken = await openRegistry(t, (_request, response) => response.destroy());
  await t.rejects(pull(t, `${broken.host}/x:1`), { code: 'REGISTRY_UNREACHABLE' });
  const rows = [
    ['longer', Buffer.concat([LAYER, LAYER]), /the registry's is longer$/],
    ['shorter', LAYER.subarray(0, 1000), /the registry's has 1000 bytes$/],
    ['other', Buffer.alloc(LAYER.byteLength), /Cannot .*: its digest is/],
  ] as const;
  for (const [title, body, message] of rows) {
    const registry = await openRegistry(t, (_request, response) => response.end(body));
    await t.rejects(pull(t, `${registry.host}/x:1`), { code: 'IMAGE_INVALID', message }, title);
    const asked = registry.seen.filter(({ url }) => url.endsWith(sha256Digest(LAYER))).length;
    t.equal(asked, 2, `${title}: asked twice`);
  }
});

t.test('a redirect to another server does not tell it who asks', { skip }, async (t) => {
  const storage = await openRegistry(t, (request, response) => sendLayer(request, response, true, 1_600_000));
  const { answer, seen } = registryOf((request, response) => {
    response.writeHead(307, { location: `http://${storage.host}/storage${request.url}` }).end();
  });
  const host = await listen(
    t,
    createServer((request, response) => {
      if (request.headers.authorization) answer(request, response);
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    }),
  );
  const directory = mkdtempSync(join(root, 'store-'));
  const store = await openImageStore({ root: directory, log: SILENT_LOGGER });
  const puller = createRegistryPuller({
    store,
    architecture: 'amd64',
    registriesPath: join(directory, 'none'),
  });
  await puller.pull(`${host}/x:1`, { auth: { username: 'user', password: 'secret' } });
  t.ok(seen.every(({ authorization }) => authorization !== undefined));
  t.equal(storage.seen.length, 2, 'once, and once more where it broke off');
  t.ok(storage.seen.every(({ authorization }) => authorization === undefined));
});

t.test('registries.json names authorities, mirrors for all and hosts of plain HTTP', { skip }, async (t) => {
  const [keyFile, certFile] = [join(root, 'key.pem'), join(root, 'cert.pem')];
  const subject = ['-subj', '/CN=registry', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      keyFile,
      '-out',
      certFile,
      '-days',
      '2',
      ...subject,
    ],
    { stdio: 'ignore' },
  );
  const { answer } = registryOf((request, response) => sendLayer(request, response, true, LAYER.byteLength));
  const tls = { key: readFileSync(keyFile), cert: readFileSync(certFile) };
  const host = await listen(t, createSecureServer(tls, answer));
  const name = 'registry.example/x:1';
  const mirrors = { '*': [host] };
  const rows = [
    ['its authority', { mirrors, hosts: { [host]: { plainHttp: false, caFile: certFile } } }, true],
    ['no check', { mirrors, hosts: { [host]: { plainHttp: false, skipVerify: true } } }, true],
    ['an unknown authority', { hosts: { [host]: { plainHttp: false } } }, false],
    ['no file', { hosts: { [host]: { plainHttp: false, caFile: '/none' } } }, false],
  ] as const;
  for (const [title, registries, isGood] of rows) {
    const result = pull(t, isGood ? name : `${host}/x:1`, registries);
    if (isGood) t.ok((await result).equals(CONTENT), title);
    else await t.rejects(result, { message: /self-signed|Cannot read "\/none"/ }, title);
  }
  const nowhere = `127.0.0.1:${await freePort()}`;
  const busy = { mirrors: { 'registry.example': [nowhere, host] }, hosts: rows[0][1].hosts };
  t.ok((await pull(t, name, busy)).equals(CONTENT), 'the next mirror when one is away');
});

t.test('registries.json is refused with the field that is wrong', { skip }, async (t) => {
  const rows = [
    [{ mirror: {} }, /unknown field "mirror"/],
    [{ mirrors: { a: 'b' } }, /"mirrors" in the document is of the wrong kind/],
    [{ hosts: { a: { tls: true } } }, /unknown field "tls" in host "a"/],
    [{ hosts: { a: { caFile: 1 } } }, /"caFile" in host "a" is of the wrong kind/],
    [[], /the document is no object/],
  ] as const;
  for (const [registries, message] of rows) {
    await t.rejects(pull(t, 'a.example/x', registries), { code: 'IMAGE_REGISTRIES_INVALID', message });
  }
});
