import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { bundleSources } from '../../../bootstrap/commands/bundle-sources.ts';
import { copyNativePackages } from '../../../runtime/host/native-packages.ts';

/** A package with a manifest, and files besides. */
const npmPackage = (manifest: object, files: Readonly<Record<string, string>> = {}) => ({
  'package.json': JSON.stringify(manifest),
  ...files,
});

/** The native packages, whose addons for two architectures lie beside them or not. */
function fakeModules(architectures: readonly string[]) {
  const addons = (name: string) =>
    Object.fromEntries(
      architectures.map((cpu) => [`${name}-linux-${cpu}`, npmPackage({ cpu: [cpu] }, { 'a.node': cpu })]),
    );
  const dependOn = (scope: string, name: string) => ({
    optionalDependencies: { [`${scope}/${name}-linux-x64`]: '1', [`${scope}/${name}-linux-arm64`]: '1' },
  });
  return {
    koffi: npmPackage(dependOn('@koromix', 'koffi')),
    lmdb: npmPackage({ ...dependOn('@lmdb', 'lmdb'), dependencies: { pure: '1' } }),
    pure: npmPackage({}),
    '@koromix': addons('koffi'),
    '@lmdb': addons('lmdb'),
  };
}

t.test(
  'copyNativePackages() takes those of one architecture, from the first folder that has them',
  async (t) => {
    const home = t.testdir({ own: fakeModules(['x64']), foreign: fakeModules(['arm64']), target: {} });
    const [own, foreign, target] = ['own', 'foreign', 'target'].map((name) => join(home, name)) as [
      string,
      string,
      string,
    ];
    await copyNativePackages({ folders: [foreign, own], architecture: 'arm64' }, target);
    t.same((await readdir(target)).sort(), ['@koromix', '@lmdb', 'koffi', 'lmdb', 'pure']);
    t.same(await readdir(join(target, '@lmdb')), ['lmdb-linux-arm64']);
    await t.rejects(copyNativePackages({ folders: [own], architecture: 'arm64' }, target), {
      code: 'BUNDLE_BUILD',
      message: /no package "koffi" for linux arm64/,
    });
  },
);

t.test('bundleSources() looks for packages where npm may have put them', (t) => {
  const entryPath = '/srv/node_modules/tkadm/dist/tkadm.js';
  const { signal } = new AbortController();
  const { packageFolders } = bundleSources({ entryPath, nodePath: '/usr/bin/node', signal });
  for (const folder of ['/srv/node_modules/tkadm/node_modules', '/srv/node_modules'])
    t.ok(packageFolders.includes(folder), folder);
  t.end();
});
