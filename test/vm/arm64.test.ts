import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { acceptBundle, bundledCommand, readArchitecture } from '../../bootstrap/ssh/upload-bundle.ts';
import { type EmulatedMachine, makeEmulatedMachine } from './arm64.ts';

const REPOSITORY = join(import.meta.dirname ?? '.', '../..');
const BUNDLES = '/var/lib/tkadm/bundle';
const TIMEOUT_MS = 900_000;
t.setTimeout(TIMEOUT_MS);

/** Why it cannot be run here: the value of tap's `skip`. */
function obstacle(): string | false {
  if (process.env['TKADM_TEST_ARM64'] !== '1') return 'fetches 50 MB: npm run test:arm64';
  if (process.getuid?.() !== 0) return 'needs root';
  const files = ['/usr/bin/qemu-aarch64-static', '/usr/bin/mmdebstrap', join(REPOSITORY, 'dist/tkadm.js')];
  const missing = files.find((file) => !existsSync(file));
  return missing !== undefined && `needs ${missing}`;
}

t.test(
  'the bundle for arm64, on QEMU’s user emulation',
  { skip: obstacle(), timeout: TIMEOUT_MS },
  async (t) => {
    const release = await readFile('/etc/os-release', 'utf8');
    const machine = await makeEmulatedMachine(/^VERSION_CODENAME=(\w+)/m.exec(release)?.[1] ?? 'bookworm');
    t.teardown(() => machine.close());
    t.equal(await readArchitecture(machine), 'arm64');
    const directory = await layOut(t.testdir());
    await cp(directory, `${machine.root}${BUNDLES}/${basename(directory)}.part`, { recursive: true });
    await acceptBundle(machine, directory);
    const id = basename(directory);
    const rootfs = `${BUNDLES}/${id}/rootfs`;

    t.test('tkadm runs, and the image is of arm64', async (t) => {
      t.match(await output(machine, [...bundledCommand(id), 'version']), /^tkadm /);
      const image = JSON.parse(await readFile(`${machine.root}${BUNDLES}/${id}/image.json`, 'utf8'));
      t.equal(image.config.architecture, 'arm64');
    });
    t.test('the addons load', async (t) => {
      const script = `const load = require('module').createRequire('${rootfs}/opt/tkadm/x.cjs');
const getpid = load('koffi').load('libc.so.6').func('int getpid()');
const store = load('lmdb').open({ path: '/tmp/store' });
store.putSync('key', 1);
console.log(getpid() === process.pid, store.get('key'), process.arch);`;
      await writeFile(join(machine.root, 'try.cjs'), script);
      t.equal(await output(machine, [`${rootfs}/usr/bin/node`, '/try.cjs']), 'true 1 arm64');
    });
    t.test('the programs find their libraries in the bundle alone', async (t) => {
      await mkdir(join(machine.root, rootfs, 'proc'), { recursive: true });
      const inImage: EmulatedMachine = {
        ...machine,
        run: (argv) => machine.run(['chroot', rootfs, ...argv]),
      };
      t.match(await output(inImage, ['/usr/sbin/ip', '-V']), /iproute2/);
      t.match(
        await output(inImage, ['/usr/bin/node', '/opt/tkadm/tkadm-oci.cjs', '--help']),
        /create a container/,
      );
      const server = await inImage.run(['/usr/local/bin/kube-apiserver', '--no-such-flag']);
      t.match(server.stderr, /Cannot use flag "--no-such-flag"/);
    });
    t.test('a bundle of the computer itself is refused', async (t) => {
      const part = `${machine.root}${BUNDLES}/0123456789abcdef.part`;
      await mkdir(join(part, 'rootfs/usr/bin'), { recursive: true });
      await cp(process.execPath, join(part, 'rootfs/usr/bin/node'));
      await t.rejects(acceptBundle(machine, '0123456789abcdef'), { message: /another architecture/ });
      t.notOk(existsSync(part));
    });
  },
);

/** The bundle as `tkadm bundle` makes it; its folder is hidden from the computer's own. */
async function layOut(home: string): Promise<string> {
  const script = `mkdir -p /var/lib/tkadm && mount --bind "$1" /var/lib/tkadm
"$2" "$3" bundle --arch arm64`;
  const argv = ['sh', home, process.execPath, join(REPOSITORY, 'dist/tkadm.js')];
  const { stdout } = await execa('unshare', ['--mount', 'sh', '-ec', script, ...argv], {
    timeout: TIMEOUT_MS,
  });
  await rmdir('/var/lib/tkadm').catch(() => {});
  return join(home, stdout.trim().replace('/var/lib/tkadm/', ''));
}

async function output(machine: EmulatedMachine, argv: readonly string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await machine.run(argv);
  if (exitCode !== 0) throw new Error(`${argv.join(' ')}: exit code ${exitCode}: ${stderr}`);
  return stdout.trim();
}
