import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { pack } from 'tar-stream';
import { runImagesList, runImagesPull } from '../../../bootstrap/commands/config-images.ts';
import { openCriFixture, skipReason } from '../../cri/fixture.ts';
import { openCli } from './fixture.ts';

const missing = ['docker-registry', 'skopeo'].find((name) => !existsSync(`/usr/bin/${name}`));
const skip = skipReason || (missing ? `needs ${missing}` : false);

t.test(
  'config images pull takes every image over CRI from a registry',
  { skip, timeout: 120_000 },
  async (t) => {
    const directory = t.testdir({});
    const registry = await startRegistry(t, directory);
    const fixture = await openCriFixture();
    t.teardown(() => fixture.close());
    const { context, take } = openCli();
    const flags = {
      engine: 'upstream',
      imageRepository: `${registry}/k8s`,
      criSocket: `unix://${join(fixture.directory, 'cri.sock')}`,
      output: 'text',
    };
    await runImagesList(context, flags);
    const images = take().out.trim().split('\n');
    t.equal(images.length, 7);

    await t.rejects(runImagesPull(context, flags), { code: 'CRI_CALL' }, 'nothing is in the registry yet');
    take();
    const layout = await writeLayout(join(directory, 'layout'));
    for (const image of images) {
      execFileSync('skopeo', [
        ...['--insecure-policy', 'copy', '--dest-tls-verify=false', `oci:${layout}`, `docker://${image}`],
      ]);
    }
    await runImagesPull(context, flags);
    t.same(
      take().out.trim().split('\n'),
      images.map((image) => `Pulled ${image}`),
    );
    const { images: pulled } = await fixture.client.listImages({});
    t.same(
      images.filter((image) => !pulled.some((row) => row.repoTags.includes(image))),
      [],
    );
    await runImagesPull(context, { ...flags, output: 'json' });
    t.same(JSON.parse(take().out).images, images);
  },
);

/** Debian's docker-registry on a free port of the loopback: "127.0.0.1:PORT". */
async function startRegistry(t: Tap, directory: string): Promise<string> {
  const address = `127.0.0.1:${await findFreePort()}`;
  const config = {
    version: 0.1,
    storage: { filesystem: { rootdirectory: join(directory, 'registry') } },
    http: { addr: address },
  };
  writeFileSync(join(directory, 'config.yml'), JSON.stringify(config));
  const child = spawn('docker-registry', ['serve', join(directory, 'config.yml')], { stdio: 'ignore' });
  t.teardown(() => child.kill());
  for (let tries = 0; tries < 100; tries += 1) {
    const response = await fetch(`http://${address}/v2/`).catch(() => undefined);
    if (response?.ok) return address;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the registry does not answer');
}

type Tap = Pick<typeof t, 'teardown'>;

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** An image of one file as an OCI image layout (image-spec image-layout.md). */
async function writeLayout(directory: string): Promise<string> {
  const blobs = join(directory, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType: string, content: Buffer) => {
    const hex = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(blobs, hex), content);
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const tar = pack();
  tar.entry({ name: 'file' }, 'content');
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  const layer = Buffer.concat(chunks);
  const prefix = 'application/vnd.oci.image';
  const diffId = `sha256:${createHash('sha256').update(layer).digest('hex')}`;
  const config = put(
    `${prefix}.config.v1+json`,
    Buffer.from(
      JSON.stringify({
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: [diffId] },
        config: {},
      }),
    ),
  );
  const layers = [put(`${prefix}.layer.v1.tar+gzip`, gzipSync(layer))];
  const manifest = put(
    `${prefix}.manifest.v1+json`,
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: `${prefix}.manifest.v1+json`, config, layers }),
    ),
  );
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  return directory;
}
