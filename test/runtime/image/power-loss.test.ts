import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { waitFor } from '../../../runtime/base/time.ts';
import { layerDescriptor } from '../../../runtime/image/archive.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { type Inodes, loadInodes } from '../../../runtime/image/inodes.ts';
import { MEDIA_TYPES } from '../../../runtime/image/oci-image.ts';
import { type ImageStore, openImageStore } from '../../../runtime/image/store.ts';
import { tarOf } from './layer-fixture.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';

interface Machine {
  readonly root: string;
  open(bootId: string, inodes?: Inodes): Promise<ImageStore>;
}

function makeMachine(t: Test): Machine {
  const root = mkdtempSync('/tmp/tkadm-power-');
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const open = async (bootId: string, inodes?: Inodes) => {
    const settleDelayMs = 0;
    const store = await openImageStore({
      root,
      log: SILENT_LOGGER,
      bootId,
      settleDelayMs,
      ...(inodes ? { inodes } : {}),
    });
    await store.sweep();
    return store;
  };
  return { root, open };
}

const importFile = (store: ImageStore, content: string) =>
  store.importLayer(Readable.from([tarOf([{ name: 'file', type: 'file', content }])]));

async function addImage(store: ImageStore, name: string, isReplaceable: boolean): Promise<string> {
  const layer = await importFile(store, name);
  const rootfs = { type: 'layers', diff_ids: [layer.diffId] };
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs }));
  const described = { mediaType: MEDIA_TYPES.config, digest: sha256Digest(config), size: config.byteLength };
  const manifest = { schemaVersion: 2, config: described, layers: [layerDescriptor(layer)] };
  const bytes = Buffer.from(JSON.stringify(manifest));
  await store.putManifest({ manifest: bytes, config, names: [name], isReplaceable });
  return layer.diffId;
}

t.test('a layer without its image is kept for the next pull', { skip }, async (t) => {
  const { open } = makeMachine(t);
  const { diffId } = await importFile(await open('one'), 'left');
  const store = await open('one');
  t.ok(await store.layer(diffId), 'after the service was killed');
  await store.sweep({ isThorough: true });
  t.notOk(await store.layer(diffId), 'until everything unused is to go');
  const { diffId: second } = await importFile(store, 'left again');
  t.notOk(await (await open('two')).layer(second), 'not after a loss of power, which may have damaged it');
});

t.test('a store after a loss of power holds what is whole', { skip }, async (t) => {
  const { root, open } = makeMachine(t);
  let syncs = 0;
  const sync = () => {
    syncs += 1;
    return new Promise<void>(() => {});
  };
  // A disk that never gets to the end.
  const before = await open('one', { ...loadInodes(), sync });
  const lost = await addImage(before, 'pulled:1', true);
  t.ok(before.resolve('pulled:1'), 'an image that can be pulled again is used before it is on disk');
  void addImage(before, 'built:1', false);
  await waitFor(async () => syncs === 2 || undefined, { subject: 'the disk at work', timeoutMs: 60e3 });
  t.notOk(before.resolve('built:1'), 'another one waits');
  const after = await open('two');
  t.notOk(after.resolve('pulled:1'));
  t.notOk(after.resolve('built:1'));
  t.notOk(await after.layer(lost));

  const names = ['pulled:1', 'built:1'];
  const diffIds = [await addImage(after, 'pulled:1', true), await addImage(after, 'built:1', false)];
  const marks = diffIds.map((id) => join(root, 'layers', id.slice('sha256:'.length), 'fresh'));
  t.notOk(existsSync(marks[1]!), 'what was built is on disk');
  await waitFor(async () => !existsSync(marks[0]!) || undefined, { subject: 'the disk', timeoutMs: 60e3 });
  const last = await open('three');
  for (const [index, name] of names.entries()) {
    t.ok(last.resolve(name), name);
    t.ok(await last.layer(diffIds[index]!));
  }
});
