// Bundles every entry point with esbuild. `dist/tkadm.js` is the command line (ESM, split so that a
// command loads only what it needs); `dist/node/*.js` are the programs of a node, one file each.
//
//   node build.mjs [--out DIR] [--package-version V] [--kubernetes-version V]
//
// The flags make a second package of the same sources that calls itself another version: tests upgrade to it.

import { existsSync } from 'node:fs';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

/** Program name → source. The name is the process name, the container command and the file name. */
const NODE_PROGRAMS = {
  'tkadm-runtime': 'runtime/cri/main.ts',
  'tkadm-agent': 'runtime/agent/main.ts',
  'tkadm-oci': 'runtime/container/oci-start-main.ts',
  'tkadm-oci.main': 'runtime/container/oci-main.ts',
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
// CommonJS dependencies inside an ES module bundle expect these names.
const requireShim =
  "import{createRequire as __cr}from'node:module';import{fileURLToPath as __fu}from'node:url';" +
  "const require=__cr(import.meta.url),__filename=__fu(import.meta.url),__dirname=__fu(new URL('.',import.meta.url));";

await rm(out, { recursive: true, force: true });
await build({
  ...shared,
  entryPoints: { tkadm: 'bootstrap/cli.ts' },
  outdir: out,
  format: 'esm',
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  banner: { js: requireShim },
});
const cliPath = join(out, 'tkadm.js');
const cli = await readFile(cliPath, 'utf8');
// Without the "--" Node.js takes the `--env-file` of `tkadm ctr run` for its own: a shell says it, as env has no -S everywhere.
const start = `#!/bin/sh\n':' //; exec node -- "$0" "$@"\n`;
await writeFile(cliPath, `${start}${cli.replace(/^#!.*\n/, '')}`);
await chmod(cliPath, 0o755);

const programs = Object.entries(NODE_PROGRAMS).filter(([, source]) => existsSync(source));
await build({
  ...shared,
  plugins: [koffiAddon],
  entryPoints: Object.fromEntries(programs),
  outdir: join(out, 'node'),
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
});
