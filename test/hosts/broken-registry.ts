import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { eventually } from './cluster.ts';
import type { LabHost } from './lab.ts';

/** On the loopback of the host, where plain HTTP may be spoken. */
export const BROKEN_REGISTRY = '127.0.0.1:5001';

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Base64. */
  readonly body?: string;
}

const SCRIPT = `
const answers = JSON.parse(require('fs').readFileSync('/run/registry.json'));
require('http').createServer((request, response) => {
  const { status, headers, body = '' } = answers[request.url] ?? { status: request.url === '/v2/' ? 200 : 404 };
  response.writeHead(status, headers).end(Buffer.from(body, 'base64'));
}).listen(5001, '127.0.0.1');`;

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/**
 * Serves images that no node can use, on the host itself, until the host ends: "denied:1" to nobody, "foreign:1" for
 * another architecture, "damaged:1" with another layer, "large:1" with a file of 4 MiB.
 */
export async function startBrokenRegistry(host: LabHost): Promise<void> {
  const large = gzipSync(buildTar('large', Buffer.alloc(4 << 20)));
  const small = gzipSync(buildTar('small', Buffer.alloc(4096)));
  const platform = { os: 'linux', architecture: 's390x' };
  const platforms = [{ mediaType: MANIFEST, ...descriptor(Buffer.from('{}')), platform }];
  const answers: Readonly<Record<string, Answer>> = {
    '/v2/denied/manifests/1': { status: 401, headers: { 'www-authenticate': 'Basic realm="lab"' } },
    '/v2/foreign/manifests/1': answer(JSON.stringify({ schemaVersion: 2, manifests: platforms }), INDEX),
    ...buildImage('large', large),
    // It unpacks, and is not what was asked for.
    ...buildImage('damaged', small, gzipSync(buildTar('small', Buffer.alloc(4096, 1)))),
  };
  await host.exec(['sh', '-c', 'cat >/run/registry.json'], { input: JSON.stringify(answers) });
  void host.spawn([process.execPath, '-e', SCRIPT]);
  await eventually('the registry to answer', 20_000, async () => {
    return (await host.exec(['curl', '-sf', `http://${BROKEN_REGISTRY}/v2/`])).exitCode === 0;
  });
}

/** An image of one layer; `served` stands for the layer when it is not what the manifest says. */
function buildImage(name: string, layer: Buffer, served = layer): Readonly<Record<string, Answer>> {
  const wanted = descriptor(layer, served.byteLength);
  const rootfs = { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] };
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs }));
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...descriptor(config) },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...wanted }],
  };
  return {
    [`/v2/${name}/manifests/1`]: answer(JSON.stringify(manifest), MANIFEST),
    [`/v2/${name}/blobs/${descriptor(config).digest}`]: answer(config),
    [`/v2/${name}/blobs/${wanted.digest}`]: answer(served),
  };
}

function descriptor(bytes: Buffer, size = bytes.byteLength) {
  return { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, size };
}

function answer(body: Buffer | string, type = 'application/octet-stream'): Answer {
  return {
    status: 200,
    headers: { 'content-type': type },
    body: Buffer.from(body).toString('base64'),
  };
}

/** A tar archive of one file (POSIX ustar). */
function buildTar(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;
  header.write(name, 0);
  for (const [offset, value, length] of [
    [100, 0o644, 8],
    [108, 0, 8],
    [116, 0, 8],
    [124, content.byteLength, 12],
    [136, 0, 12],
  ] as const)
    header.write(octal(value, length), offset);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(octal(sum, 8), 148);
  const padding = Buffer.alloc((512 - (content.byteLength % 512)) % 512);
  return Buffer.concat([header, content, padding, Buffer.alloc(1024)]);
}
