import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** Applets that the images have as links to /bin/busybox. */
const APPLETS =
  'sh cat echo sleep hostname httpd wget nslookup ls stty tty mkdir date ps kill id head grep env touch true tar sha256sum';

/** Debian's static busybox of this machine. */
const BUSYBOX = '/usr/bin/busybox';

/** Writes a build context of a Dockerfile that makes an image of busybox with the text as /etc/motd. */
export async function writeBusyboxContext(directory: string, motd: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await copyFile(BUSYBOX, join(directory, 'busybox'));
  await writeFile(join(directory, 'motd'), motd);
  const dockerfile = [
    'FROM scratch',
    'COPY busybox /bin/busybox',
    `RUN ["/bin/busybox", "sh", "-c", "for a in ${APPLETS}; do /bin/busybox ln -s busybox /bin/$a; done"]`,
    'COPY motd /etc/motd',
    'RUN mkdir -p /www /tmp && hostname localhost 2>/dev/null; cat /etc/motd > /www/motd',
    'ENV GREETING=hello PATH=/bin',
    'WORKDIR /www',
    'CMD ["cat", "/etc/motd"]',
  ];
  await writeFile(join(directory, 'Dockerfile'), `${dockerfile.join('\n')}\n`);
}

/** Writes a docker-archive (docker save's format) with one busybox image; returns its path. */
export async function writeBusyboxArchive(directory: string, tag: string): Promise<string> {
  const root = join(directory, 'rootfs');
  for (const path of ['bin', 'www', 'tmp', 'etc']) await mkdir(join(root, path), { recursive: true });
  await copyFile(BUSYBOX, join(root, 'bin/busybox'));
  await execa('sh', ['-ec', `for a in ${APPLETS}; do ln -sf busybox ${root}/bin/$a; done`]);
  await writeFile(join(root, 'etc/motd'), `${tag}\n`);
  const layer = join(directory, 'layer.tar');
  await execa('tar', ['-C', root, '--owner=0', '--group=0', '-cf', layer, '.']);
  const diffId = `sha256:${createHash('sha256')
    .update(await readFile(layer))
    .digest('hex')}`;
  const config = JSON.stringify({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/bin'], Cmd: ['cat', '/etc/motd'], WorkingDir: '/www' },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created_by: 'test' }],
  });
  await writeFile(join(directory, 'config.json'), config);
  const manifest = [{ Config: 'config.json', RepoTags: [tag], Layers: ['layer.tar'] }];
  await writeFile(join(directory, 'manifest.json'), JSON.stringify(manifest));
  const archive = join(directory, 'image.tar');
  await execa('tar', ['-C', directory, '-cf', archive, 'manifest.json', 'config.json', 'layer.tar']);
  return archive;
}
