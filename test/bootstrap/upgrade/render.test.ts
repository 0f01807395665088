import t from 'tap';
import { ANY_MACHINE } from '../../../bootstrap/config/defaults.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import { findDrift, hashManifest, renderManifests } from '../../../bootstrap/upgrade/render.ts';
import { parseStaticPod } from '../../../runtime/agent/static-pod-file.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { NO_PATCHES } from '../../../templates/patches.ts';

/** The manifests of a machine; nothing else is there. */
async function open(files: Readonly<Record<string, string>>, bundle: string) {
  const { config } = await loadConfiguration({ kind: 'InitConfiguration', defaultsFrom: ANY_MACHINE });
  const host = { readFile: async (path: string) => files[path], stat: async () => undefined };
  return {
    config,
    host: host as unknown as Host,
    env: {},
    patches: async () => NO_PATCHES,
    bundleId: async () => bundle,
  };
}

t.test('renderManifests() finds another bundle of the same version, and nothing for the same', async (t) => {
  const first = await renderManifests(await open({}, 'a'));
  t.same(
    first.map(({ row, before }) => [row.name, before]),
    ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'].map((name) => [name, '']),
  );
  const files = Object.fromEntries(first.map(({ path, after }) => [path, after]));
  for (const { before, after } of await renderManifests(await open(files, 'a'))) t.equal(before, after);
  for (const { before, after } of await renderManifests(await open(files, 'b'))) {
    t.equal(before.replace('tkadm.io/bundle: a', 'tkadm.io/bundle: b'), after);
    t.not(before, after);
  }
});

t.test('findDrift() names manifests that were edited, whatever version they are of', async (t) => {
  const [apiServer, ...others] = await renderManifests(await open({}, 'a'));
  const files = Object.fromEntries(
    [apiServer!, ...others].map(({ path, after }) => [path, after.replace(/(image: .*:)v.*/, '$1v1.30.0')]),
  );
  t.same(await findDrift(await open(files, 'b')), []);
  const edited = {
    ...files,
    [apiServer!.path]: files[apiServer!.path]!.replace('- --secure-port', '- --v=4\n        - --secure-port'),
  };
  t.same(await findDrift(await open(edited, 'b')), ['kube-apiserver']);
});

t.test('hashManifest() says what the agent will say', async (t) => {
  for (const { path, after } of await renderManifests(await open({}, 'a'))) {
    const pod = parseStaticPod(after, { path, nodeName: 'cp', seenAt: new Date() });
    t.equal(hashManifest(after, path, 'cp'), pod.metadata.annotations?.['kubernetes.io/config.hash']);
  }
});
