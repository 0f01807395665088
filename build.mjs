// Bundles every program with esbuild, each as NAME.main.cjs and a NAME that starts it from V8's compiled code:
// `dist/tkadm.js` is the command line, `dist/node/*.cjs` are the programs of a node.
//
//   node build.mjs [--out DIR] [--package-version V] [--kubernetes-version V]
//
// The flags make a second package of the same sources that calls itself another version: tests upgrade to it.

import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build, transform } from 'esbuild';

/** Program name → source. The name is the process name, the container command and the file name. */
const NODE_PROGRAMS = {
  'tkadm-runtime': 'runtime/cri/main.ts',
  'tkadm-agent': 'runtime/agent/main.ts',
  'tkadm-oci': 'runtime/container/oci-main.ts',
  'tkadm-cni': 'runtime/network/cni-main.ts',
  'kube-apiserver': 'runtime/controlplane/apiserver/main.ts',
  'kube-controller-manager': 'runtime/controlplane/controllers/main.ts',
  'kube-scheduler': 'runtime/controlplane/scheduler/main.ts',
  'kube-proxy': 'runtime/network/proxy/main.ts',
  coredns: 'runtime/network/dns/main.ts',
};

const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: 'dist' },
    'package-version': { type: 'string' },
    'kubernetes-version': { type: 'string' },
  },
});
const { out } = flags;
const version = flags['package-version'] ?? JSON.parse(await readFile('package.json', 'utf8')).version;
const kubernetesVersion = flags['kubernetes-version'];
const shared = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // A program that runs from compiled code has no way to import; what esbuild has bundled needs none.
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  define: {
    TKADM_VERSION: JSON.stringify(version),
    ...(kubernetesVersion ? { TKADM_KUBERNETES_VERSION: JSON.stringify(kubernetesVersion) } : {}),
  },
  // Native addons stay outside: their prebuilt binaries ship inside the npm packages.
  external: ['koffi', 'lmdb', 'cpu-features', '*.node'],
  logLevel: 'warning',
};
/**
 * koffi's own entry reads the ELF header of Node.js and looks for its addon in many places, milliseconds of each start.
 * The addon alone has all that is used here.
 */
const koffiAddon = {
  name: 'koffi-addon',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^koffi$/ }, ({ namespace }) =>
      namespace === 'koffi-addon'
        ? { path: 'koffi', external: true }
        : { path: 'koffi', namespace: 'koffi-addon' },
    );
    onLoad({ filter: /.*/, namespace: 'koffi-addon' }, () => ({
      contents: `
        const load = () => {
          for (const libc of ['linux', 'musl']) {
            try {
              return require(\`@koromix/koffi-linux-\${process.arch}/\${libc}_\${process.arch}/koffi.node\`);
            } catch {}
          }
          return require('koffi');
        };
        module.exports = load();`,
    }));
  },
};
/** Of what a node's program and the command line are started by. */
const START = 'runtime/base/start-main.ts';
/** Its own runs make better code of it, and are short enough for that to matter. */
const KEEPS_OWN_CODE = 'tkadm-oci.main.cjs';

await rm(out, { recursive: true, force: true });
await build({
  ...shared,
  entryPoints: { 'tkadm.main': 'bootstrap/cli.ts' },
  outdir: out,
  outExtension: { '.js': '.cjs' },
  define: { ...shared.define, 'import.meta.url': 'entryUrl' },
  banner: { js: "const entryUrl=require('node:url').pathToFileURL(__filename).href;" },
});
await build({
  ...shared,
  entryPoints: { tkadm: START },
  outdir: out,
  // Without the "--" Node.js takes the --env-file of `tkadm ctr run` for its own: a shell says it, as not every env has -S.
  banner: { js: `#!/bin/sh\n':' //; exec node -- "$0" "$@"` },
});
await chmod(join(out, 'tkadm.js'), 0o755);
// The package's own type is for its sources.
await writeFile(join(out, 'package.json'), '{"type":"commonjs"}\n');

const names = Object.keys(NODE_PROGRAMS);
const programs = { outdir: join(out, 'node'), outExtension: { '.js': '.cjs' } };
await build({
  ...shared,
  ...programs,
  plugins: [koffiAddon],
  entryPoints: Object.fromEntries(names.map((name) => [`${name}.main`, NODE_PROGRAMS[name]])),
});
await build({ ...shared, ...programs, entryPoints: Object.fromEntries(names.map((name) => [name, START])) });

const outputs = [join(out, 'tkadm.main.cjs'), ...names.map((name) => join(out, 'node', `${name}.main.cjs`))];
for (const path of outputs) {
  // Its compiled code is for a text that is read byte by byte; esbuild leaves what is in regular expressions.
  const other = /[^\0-\x7f]/.exec(await readFile(path, 'utf8'));
  if (other) throw new Error(`Cannot build "${path}": "${other[0]}" is not ASCII, escape it in the source`);
}
const { code } = await transform(await readFile('runtime/base/code-cache.ts', 'utf8'), { loader: 'ts' });
const { keepCode } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
for (const path of outputs) if (!path.endsWith(KEEPS_OWN_CODE)) keepCode(path);
