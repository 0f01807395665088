import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { BundleArchives } from '../../../bootstrap/ssh/bundle-archive.ts';
import { connectSsh } from '../../../bootstrap/ssh/connection.ts';
import { createSshHost, type SshHost } from '../../../bootstrap/ssh/host.ts';
import { SshPrompts } from '../../../bootstrap/ssh/prompts.ts';
import {
  acceptBundle,
  hasBundle,
  removePartial,
  uploadBundle,
} from '../../../bootstrap/ssh/upload-bundle.ts';
import { stageForeignBundle } from '../../../runtime/host/foreign-bundle.ts';
import { eventually } from '../../hosts/cluster.ts';
import { createPrivateMachine } from '../../hosts/private-machine.ts';
import { relaySsh } from '../../hosts/ssh-relay.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const BUNDLES = '/var/lib/tkadm/bundle';
const REPOSITORY = join(import.meta.dirname ?? '.', '../../..');
/** Node.js's own binary begins a file so. */
const ELF_HEADER_BYTES = 64;

t.test('uploadBundle() sends, checks and goes on', { skip }, async (t) => {
  const home = t.testdir({ '.ssh': {}, abc123: { 'image.json': '{}', rootfs: { bin: {} } } });
  const directory = join(home, 'abc123');
  await mkdir(join(directory, 'rootfs/empty'));
  await writeFile(join(directory, 'rootfs/bin/program'), randomBytes(6_000_000));
  await chmod(join(directory, 'rootfs/bin/program'), 0o755);
  await symlink('program', join(directory, 'rootfs/bin/link'));
  const header = (await readFile(process.execPath)).subarray(0, ELF_HEADER_BYTES);
  await mkdir(join(directory, 'rootfs/usr/bin'), { recursive: true });
  await writeFile(join(directory, 'rootfs/usr/bin/node'), header);
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(home, '.ssh/id_ed25519')]);
  const publicKey = (await readFile(join(home, '.ssh/id_ed25519.pub'), 'utf8')).trim();
  const machine = await createPrivateMachine({
    setup: `mkdir -p /run/sshd /run/keys; echo '${publicKey}' > /run/keys/root
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/test_key
printf 'HostKey /etc/ssh/test_key\\nAuthorizedKeysFile /run/keys/%%u\\nStrictModes no\\nUsePAM no\\n' > /etc/ssh/test_config`,
  });
  t.teardown(() => machine.close());
  const port = await relaySsh(t, machine, '/etc/ssh/test_config');
  const open = async (): Promise<SshHost & { readonly drop: () => void }> => {
    const connection = await connectSsh(
      { host: '127.0.0.1', port },
      {
        person: { home, cwd: home, name: 'root', uid: 0, hostname: 'here', env: {}, configPath: 'none' },
        prompts: new SshPrompts(undefined),
        defaultUser: 'root',
        hostKeyPolicy: 'accept-new',
      },
    );
    t.teardown(() => connection.close());
    return Object.assign(createSshHost(connection), { drop: () => connection.close() });
  };
  const host = await open();
  const { signal } = new AbortController();
  const files = async () => (await host.list(BUNDLES)).join(' ');
  const upload = async (to: SshHost, directory: string, onProgress: (bytes: number) => void) => {
    const archives = new BundleArchives(signal);
    await uploadBundle(to, { directory, archives, signal, onProgress }).finally(() => archives.close());
  };
  const send = async (to: SshHost) => {
    const sent: number[] = [];
    await upload(to, directory, (bytes) => sent.push(bytes));
    return sent;
  };
  const expectBundle = async () => {
    await acceptBundle(host, directory);
    t.equal(await files(), 'abc123');
    t.ok(await hasBundle(host, directory));
    const listing = (root: string) => [
      'sh',
      '-c',
      `cd ${root} && find . -printf '%p %m %l\\n' | sort && find . -type f | sort | xargs sha256sum`,
    ];
    const [program = '', ...args] = listing(directory);
    t.equal(
      (await host.run(listing(`${BUNDLES}/abc123`))).stdout.trim(),
      (await execa(program, args)).stdout,
    );
    await host.remove(`${BUNDLES}/abc123`);
  };

  await t.test('whole', async () => {
    await send(host);
    t.notOk(await hasBundle(host, directory), 'it is not there before it is accepted');
    t.equal(await files(), 'abc123.part');
    await expectBundle();
  });
  await t.test('packed for a machine that has zstd alone', async (t) => {
    await writeFile(join(directory, 'rootfs/text'), 'x'.repeat(3_000_000));
    const packed = (await send(host)).at(-1) ?? 0;
    await expectBundle();
    await machine.host.run(['mount', '--bind', '/dev/null', '/usr/bin/zstd']);
    const whole = (await send(host)).at(-1) ?? 0;
    await expectBundle();
    await machine.host.run(['umount', '/usr/bin/zstd']);
    await rm(join(directory, 'rootfs/text'));
    t.ok(packed < whole - 2_900_000, `${packed} bytes of ${whole}`);
  });
  await t.test('two machines share an archive', async (t) => {
    const archives = new BundleArchives(signal);
    const [one, other] = await Promise.all([
      archives.open(directory, 'tar'),
      archives.open(directory, 'tar'),
    ]);
    t.equal(one, other);
    await archives.close();
    const gone = archives.open(join(home, 'nothing'), 'tar');
    await t.rejects(gone, { code: 'JOIN_FAILED', message: /Cannot pack the node bundle .* No such file/ });
  });
  await t.test('goes on after the line broke', async (t) => {
    const breaking = await open();
    const broken = upload(breaking, directory, (bytes) => bytes > 3_000_000 && breaking.drop());
    await t.rejects(broken, { code: 'JOIN_FAILED', hint: /goes on where this one ended/ });
    const sizeBytes = await eventually('the part that came is written', 5_000, async () => {
      const isOpen = 'ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q abc123.tar.part';
      if ((await host.run(['sh', '-c', isOpen])).exitCode === 0) return false;
      return (await host.stat(`${BUNDLES}/abc123.tar.part`))?.sizeBytes;
    });
    t.ok(sizeBytes > 0 && sizeBytes < 6_000_000, `${sizeBytes} bytes are there`);
    const [first = 0] = await send(host);
    t.ok(first > sizeBytes, 'the second transfer began behind them');
    await expectBundle();
  });
  await t.test('begins again when what is there is of something else', async () => {
    await host.writeFile(`${BUNDLES}/abc123.tar.part`, 'x'.repeat(5000));
    await send(host);
    await expectBundle();
  });
  await t.test('what was not accepted is removed', async (t) => {
    await send(host);
    await removePartial(host, directory);
    t.equal(await files(), '');
  });
  await t.test('programs of another architecture are not accepted', async (t) => {
    const [x64, arm64] = [62, 183];
    const other = Buffer.from(header);
    other.writeUInt16LE(other.readUInt16LE(18) === x64 ? arm64 : x64, 18);
    await writeFile(join(directory, 'rootfs/usr/bin/node'), other);
    await send(host);
    await t.rejects(acceptBundle(host, directory), { code: 'JOIN_FAILED', message: /another architecture/ });
    t.equal(await files(), '', 'nothing of it stays');
  });
  await t.test('a bundle that was laid out elsewhere gets the part of the machine there', async (t) => {
    const own = { nodePath: process.execPath, distDir: join(REPOSITORY, 'dist') };
    const packages = join(REPOSITORY, 'node_modules');
    const foreign = await stageForeignBundle({
      own: { ...own, packageFolders: [packages] },
      architecture: process.arch as 'x64' | 'arm64',
      nodePath: process.execPath,
      addonsDir: packages,
      root: join(home, 'foreign'),
    });
    t.notOk(await readdir(foreign.directory).then((names) => names.includes('image.json')));
    await upload(host, foreign.directory, () => {});
    await acceptBundle(host, foreign.directory);
    t.ok(await hasBundle(host, foreign.directory));
    const image = JSON.parse((await host.readFile(`${BUNDLES}/${foreign.id}/image.json`)) ?? '{}');
    t.equal(image.config.architecture, process.arch === 'x64' ? 'amd64' : 'arm64');
    const rootfs = `${BUNDLES}/${foreign.id}/rootfs`;
    for (const command of [
      ['/usr/sbin/nft', '--version'],
      ['/usr/bin/node', '--version'],
    ]) {
      const { exitCode, stderr } = await host.run(['chroot', rootfs, ...command]);
      t.equal(exitCode, 0, `${command[0]} runs with the libraries of the bundle: ${stderr}`);
    }
    await host.remove(`${BUNDLES}/${foreign.id}`);
  });
  await t.test('a disk that is full is named', async (t) => {
    await machine.host.run(['sh', '-c', `mount -t tmpfs -o size=1m tmpfs ${BUNDLES}`]);
    await t.rejects(send(host), { code: 'JOIN_FAILED', message: /No space left/ });
  });
});
