import { createHash } from 'node:crypto';

/** Packages of a machine besides apt's own minimum: what a small Debian server has. */
const PACKAGES = [
  'systemd-sysv',
  'systemd-resolved',
  'dbus',
  'linux-image-cloud-amd64',
  'openssh-server',
  'iproute2',
  'nftables',
  'procps',
  'curl',
  'ca-certificates',
  'busybox-static',
  'apparmor',
  // Compiles the policy of SELinux.
  'secilc',
  // Writes the initial RAM disk.
  'cpio',
] as const;

/** Modules without which the root disk cannot be seen; the kernel has ext4 in itself. */
const BOOT_MODULES = ['virtio_pci', 'virtio_blk'] as const;

/** Units that only cost time on a machine that lives for minutes under an emulator. */
const MASKED_UNITS = [
  'apparmor.service',
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty@tty1.service',
  'serial-getty@ttyS0.service',
  'systemd-timesyncd.service',
] as const;

/** The disk of the machine under test is mounted here, read-only. */
export const PAYLOAD_DIRECTORY = '/opt/payload';

/** The program of the initial RAM disk: loads the disk's drivers and goes on with the root file system. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
if /bin/busybox grep -q tkadm.probe /proc/cmdline; then
  echo probe-answered
  /bin/busybox poweroff -f
fi
while read -r module; do /bin/busybox insmod "$module"; done < /modules
until [ -b /dev/vda ]; do /bin/busybox sleep 0.05; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/init
`;

/** Reads the address that the kernel's command line gives to the interface of the private network. */
const NETWORK_SCRIPT = `#!/bin/sh
for word in $(cat /proc/cmdline); do
  case $word in tkadm.address=*) address=\${word#*=} ;; esac
done
mkdir -p /run/systemd/network
# Large frames: each one costs the emulator the same.
printf '[Match]\\nName=eth0\\n[Link]\\nMTUBytes=9000\\n[Network]\\nAddress=%s/24\\nGateway=%s.1\\nDNS=%s.1\\nLinkLocalAddressing=no\\n' \\
  "$address" "\${address%.*}" "\${address%.*}" > /run/systemd/network/10-eth0.network
`;

const NETWORK_UNIT = `[Unit]
DefaultDependencies=no
Before=systemd-networkd.service
RequiresMountsFor=/run
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/machine-network
[Install]
WantedBy=systemd-networkd.service
`;

/** The smallest policy of SELinux that a kernel takes: one type besides the kernel's own, and two categories. */
const POLICY_SOURCE = `(handleunknown allow)
(class process (transition dyntransition))
(classorder (process))
(sid kernel) (sid security) (sid unlabeled)
(sidorder (kernel security unlabeled))
(sensitivity s0)
(sensitivityorder (s0))
(category c1) (category c2)
(categoryorder (c1 c2))
(sensitivitycategory s0 (c1 c2))
(role object_r) (role system_r)
(type kernel_t) (type container_t)
(roletype system_r kernel_t) (roletype system_r container_t) (roletype object_r kernel_t)
(user system_u)
(userrole system_u system_r) (userrole system_u object_r)
(userlevel system_u (s0))
(userrange system_u ((s0) (s0 (c1 c2))))
(sidcontext kernel (system_u system_r kernel_t ((s0) (s0))))
(sidcontext security (system_u system_r kernel_t ((s0) (s0))))
(sidcontext unlabeled (system_u object_r kernel_t ((s0) (s0))))
(allow kernel_t container_t (process (transition)))
`;

/** The compiled policy. It is not where systemd would load it. */
export const SELINUX_POLICY = '/usr/local/lib/machine-policy';

/** Files of a machine, path → content. */
const FILES: Readonly<Record<string, string>> = {
  '/etc/fstab': `LABEL=payload ${PAYLOAD_DIRECTORY} ext4 ro,nofail 0 0\n`,
  '/etc/systemd/system/machine-network.service': NETWORK_UNIT,
  // A session of logind for each command would cost the emulator a second.
  '/etc/ssh/sshd_config.d/machine.conf': 'UseDNS no\nUsePAM no\nMaxSessions 50\n',
  [`${SELINUX_POLICY}.cil`]: POLICY_SOURCE,
};

/** What is done in the new root file system, by /bin/sh. */
const SETUP = `set -e
systemctl enable machine-network.service systemd-networkd.service systemd-resolved.service
systemctl disable systemd-networkd-wait-online.service
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
systemctl mask ${MASKED_UNITS.join(' ')}
mkdir -p ${PAYLOAD_DIRECTORY} /boot/initial/bin /boot/initial/dev /boot/initial/proc /boot/initial/root
rm -f /etc/hostname /etc/machine-id /etc/apt/apt.conf.d/99mmdebstrap
: > /etc/machine-id
printf '127.0.0.1 localhost\\n' > /etc/hosts
secilc -c 33 -M true -f /dev/null -o ${SELINUX_POLICY} ${SELINUX_POLICY}.cil
cd /boot/initial
cp /bin/busybox bin/busybox
version=$(ls /lib/modules)
modprobe --show-depends --all --set-version "$version" ${BOOT_MODULES.join(' ')} |
  awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > paths
: > modules
while read -r path; do cp "$path" .; echo "/\${path##*/}" >> modules; done < paths
find . | cpio --quiet -o -H newc | gzip -1 > /boot/initrd
rm -rf /boot/initial
cp /boot/vmlinuz-"$version" /boot/kernel
`;

/** Everything that a disk is made from. Two recipes with one digest give the same disk, up to packages' versions. */
export const RECIPE = {
  packages: PACKAGES,
  files: FILES,
  programs: { '/usr/local/sbin/machine-network': NETWORK_SCRIPT, '/boot/initial/init': INIT },
  setup: SETUP,
} as const;

/** Names the disk's place: a changed recipe, suite or key gives another one. */
export function digestRecipe(suite: string): string {
  return createHash('sha256')
    .update(JSON.stringify([suite, RECIPE]))
    .digest('hex')
    .slice(0, 12);
}
