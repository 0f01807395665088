import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdtemp,
  open,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { buildExt4, findAptSources, readAptOptions, readSuite, writeFiles } from '../vm/disk.ts';

/** A box that `vagrant box add` takes, and the key that opens its machines. */
export interface Box {
  readonly path: string;
  readonly privateKey: string;
  /** Digest of what it was made from. */
  readonly digest: string;
}

/** A small Debian server: the kernel with the drivers of every hypervisor, a bootloader, and what Vagrant asks for. */
const PACKAGES = [
  'systemd-sysv',
  'systemd-resolved',
  'dbus',
  'linux-image-amd64',
  'initramfs-tools',
  'openssh-server',
  'sudo',
  'iproute2',
  'nftables',
  'procps',
  'curl',
  'ca-certificates',
  'busybox-static',
] as const;

const FILES: Readonly<Record<string, string>> = {
  '/etc/fstab': 'LABEL=system / ext4 defaults 0 1\n',
  '/etc/systemd/network/10-eth0.network':
    '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n[DHCPv4]\nClientIdentifier=mac\n',
  '/etc/ssh/sshd_config.d/machine.conf': 'UseDNS no\nMaxSessions 50\n',
  '/etc/sudoers.d/vagrant': 'vagrant ALL=(ALL) NOPASSWD: ALL\n',
  '/boot/grub/grub.cfg': `linux /vmlinuz root=LABEL=system console=ttyS0 quiet net.ifnames=0 mitigations=off no_timer_check
initrd /initrd.img
boot
`,
};

const SETUP = `set -e
useradd -m -s /bin/bash vagrant
mkdir -p /home/vagrant/.ssh
cp /root/.ssh/authorized_keys /home/vagrant/.ssh/
chown -R vagrant: /home/vagrant/.ssh
chmod 700 /home/vagrant/.ssh /root/.ssh
chmod 440 /etc/sudoers.d/vagrant
systemctl enable systemd-networkd.service systemd-resolved.service
systemctl disable systemd-networkd-wait-online.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
rm -f /etc/hostname /etc/apt/apt.conf.d/99mmdebstrap
: > /etc/machine-id
printf '127.0.0.1 localhost\\n' > /etc/hosts
`;

const DISK_BYTES = 6 * 1024 ** 3;
const SECTOR_BYTES = 512;
/** The partition begins behind the boot loader. */
const PARTITION_SECTOR = 2048;
/** Code of the first sector; its table of partitions follows. */
const BOOT_CODE_BYTES = 446;
const GRUB = '/usr/lib/grub/i386-pc';
const GRUB_MODULES = ['biosdisk', 'part_msdos', 'ext2', 'linux', 'normal', 'configfile', 'boot'] as const;

/** Makes the box, once: it is kept below /var/tmp by the digest of what it is made from. */
export async function prepareBox(log: (text: string) => void): Promise<Box> {
  const suite = await readSuite();
  const recipe = JSON.stringify([suite, PACKAGES, FILES, SETUP, DISK_BYTES, GRUB_MODULES]);
  const digest = createHash('sha256').update(recipe).digest('hex').slice(0, 12);
  const directory = `/var/tmp/tkadm-box-${digest}`;
  const box = { path: join(directory, 'libvirt.box'), privateKey: join(directory, 'id_ed25519'), digest };
  if (existsSync(box.path)) return box;
  log(`making the box from Debian's packages of ${suite}`);
  const temporary = await mkdtemp('/var/tmp/tkadm-box-new-');
  try {
    await buildBox(suite, temporary);
    await rm(directory, { recursive: true, force: true });
    await rename(temporary, directory);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return box;
}

async function buildBox(suite: string, directory: string): Promise<void> {
  const privateKey = join(directory, 'id_ed25519');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'vagrant', '-f', privateKey]);
  const root = join(directory, 'root');
  await buildRoot(suite, { root, directory, publicKey: await readFile(`${privateKey}.pub`, 'utf8') });
  const raw = join(directory, 'disk.raw');
  await buildDisk(root, directory, raw);
  await rm(root, { recursive: true });
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, join(directory, 'box.img')]);
  await rm(raw);
  const virtualSizeGiB = DISK_BYTES / 1024 ** 3;
  const metadata = { provider: 'libvirt', format: 'qcow2', virtual_size: virtualSizeGiB };
  await writeFile(join(directory, 'metadata.json'), JSON.stringify(metadata));
  await writeFile(join(directory, 'Vagrantfile'), "Vagrant.configure('2') { |config| }\n");
  const members = ['metadata.json', 'Vagrantfile', 'box.img'];
  await execa('tar', ['-cf', join(directory, 'libvirt.box'), '-C', directory, ...members]);
  for (const name of members) await rm(join(directory, name));
}

interface RootInput {
  readonly root: string;
  readonly directory: string;
  readonly publicKey: string;
}

async function buildRoot(suite: string, { root, directory, publicKey }: RootInput): Promise<void> {
  const overlay = join(directory, 'overlay');
  await writeFiles(overlay, { ...FILES, '/root/.ssh/authorized_keys': publicKey });
  await chmod(join(overlay, 'root'), 0o700);
  const setup = join(directory, 'setup');
  await writeFile(setup, SETUP);
  const options = [
    ...[
      '--quiet',
      '--mode=root',
      '--variant=minbase',
      '--format=directory',
      `--include=${PACKAGES.join(',')}`,
    ],
    ...['man', 'doc', 'locale'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    '--dpkgopt=force-confold',
    ...(await readAptOptions()).map((option) => `--aptopt=${option}`),
    `--customize-hook=cp -a --no-preserve=ownership ${overlay}/. "$1/"`,
    `--customize-hook=chroot "$1" sh < ${setup}`,
  ];
  const argv = [
    '--pdeathsig',
    'TERM',
    'mmdebstrap',
    ...options,
    suite,
    root,
    ...(await findAptSources(suite)),
  ];
  await execa('setpriv', argv, { stdin: 'ignore', timeout: 900_000 });
  await rm(overlay, { recursive: true });
  await rm(setup);
}

/** A disk with one partition that a BIOS starts: GRUB's first sector and its core behind it, as it expects them. */
async function buildDisk(root: string, directory: string, raw: string): Promise<void> {
  const partition = join(directory, 'partition.img');
  const sizeBytes = DISK_BYTES - PARTITION_SECTOR * SECTOR_BYTES;
  await buildExt4(root, partition, { size: `${sizeBytes / 1024}k`, label: 'system' });
  const core = join(directory, 'core.img');
  const prefix = '(hd0,msdos1)/boot/grub';
  await execa('grub-mkimage', ['-O', 'i386-pc', '-d', GRUB, '-o', core, '-p', prefix, ...GRUB_MODULES]);
  if ((await stat(core)).size > (PARTITION_SECTOR - 1) * SECTOR_BYTES)
    throw new Error(`"${core}" is too large`);
  await copyFile(join(GRUB, 'boot.img'), raw);
  await truncate(raw, DISK_BYTES);
  const disk = await open(raw, 'r+');
  try {
    await disk.write(formatPartitionTable(sizeBytes / SECTOR_BYTES), 0, undefined, BOOT_CODE_BYTES);
  } finally {
    await disk.close();
  }
  const copy = async (source: string, seek: number) =>
    execa('dd', [`if=${source}`, `of=${raw}`, 'bs=512', `seek=${seek}`, 'conv=notrunc', 'status=none']);
  await copy(core, 1);
  const whole = [`if=${partition}`, `of=${raw}`, 'bs=1M', `seek=1`, 'conv=notrunc,sparse', 'status=none'];
  await execa('dd', whole);
  await rm(partition);
  await rm(core);
}

/** One bootable Linux partition in the first of four entries of 16 bytes, then the mark of a boot sector. */
function formatPartitionTable(sectors: number): Buffer {
  const table = Buffer.alloc(SECTOR_BYTES - BOOT_CODE_BYTES);
  table.set([0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff]);
  table.writeUInt32LE(PARTITION_SECTOR, 8);
  table.writeUInt32LE(sectors, 12);
  table.set([0x55, 0xaa], 64);
  return table;
}
