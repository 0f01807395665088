export interface HostInitOptions {
  readonly name: string;
  /** The host's folder outside: disks, scripts, marks. */
  readonly directory: string;
  /** cgroup v1 hierarchies below /sys/fs/cgroup. */
  readonly controllers: readonly string[];
  readonly cgroup: string;
  readonly hasNode: boolean;
  readonly publicKey: string;
  readonly privateKeyPath: string;
  /** Folders of the machine that must be seen as they are, also when they are other file systems. */
  readonly sharedDirectories: readonly string[];
}

/**
 * The two shell scripts that make a host: `outside` joins the cgroups and becomes `unshare`, `inside` is
 * the host's init: it builds the root file system, pivots into it, starts sshd and reaps orphans.
 */
export function buildHostInit(options: HostInitOptions): {
  readonly outside: string;
  readonly inside: string;
} {
  const { directory, controllers, cgroup } = options;
  const outside = [
    ...controllers.map((controller) => `echo $$ > /sys/fs/cgroup/${controller}/${cgroup}/cgroup.procs`),
    `echo $$ > ${directory}/pid`,
    `exec unshare --fork --pid --mount --uts --ipc --net --cgroup --propagation private ${directory}/init.sh`,
  ].join('\n');
  const root = `${directory}/root`;
  const inside = `#!/bin/sh
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# The bridge is plugged in from outside; addresses come from there too.
while [ ! -e ${directory}/plugged ]; do sleep 0.01; done
hostname ${options.name}
mount -t overlay overlay -o lowerdir=/,upperdir=${directory}/upper,workdir=${directory}/work,index=off,xino=off ${root}
mkdir -p ${root}/var/lib/tkadm ${root}/var/lib/kubelet ${root}/oldroot
# Networks of other runtimes on the machine are not the hosts'.
rm -rf ${root}/etc/cni/net.d
mkdir -p ${directory}/state/tkadm ${directory}/state/kubelet
mount --bind ${directory}/state/tkadm ${root}/var/lib/tkadm
mount --bind ${directory}/state/kubelet ${root}/var/lib/kubelet
mount -t proc proc ${root}/proc
# A new network namespace takes after the machine's; a host begins as Debian does.
echo 0 > ${root}/proc/sys/net/ipv4/ip_forward
mount -t sysfs sysfs ${root}/sys
mount --rbind /dev ${root}/dev
mount -t tmpfs -o mode=1777 tmpfs ${root}/dev/shm
mount -t tmpfs -o mode=755 tmpfs ${root}/run
mount -t tmpfs tmpfs ${root}/tmp
mount -t tmpfs -o mode=755 tmpfs ${root}/sys/fs/cgroup
${controllers
  .map((controller) => {
    const type =
      controller === 'unified'
        ? '-t cgroup2'
        : `-t cgroup -o ${controller === 'systemd' ? 'none,name=systemd' : controller}`;
    return `mkdir ${root}/sys/fs/cgroup/${controller}; mount ${type} ${controller} ${root}/sys/fs/cgroup/${controller}`;
  })
  .join('\n')}
# The machine that runs the tests is reached through the host's own view of its folder.
mkdir -p ${root}${directory}
mount --bind ${directory} ${root}${directory}
${options.sharedDirectories.map((path) => `mkdir -p ${root}${path}; mount --bind ${path} ${root}${path}`).join('\n')}
cd ${root}
pivot_root . oldroot
exec <&- 0</dev/null
umount -l /oldroot
mount --make-rshared /
echo ${options.name} > /etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 ${options.name}\\n' > /etc/hosts
${options.hasNode ? '' : 'rm -f $(command -v node) /usr/local/bin/node /usr/bin/node /usr/local/bin/npm /usr/local/bin/npx'}
# A pod network of the machine itself, such as podman's, is none of the host's.
rm -rf /etc/cni/net.d
mkdir -p /root/.ssh /run/sshd /etc/ssh
chmod 700 /root/.ssh
# A login shell starts as on a fresh machine: what this computer's root has in its own file would run for each session.
cp /usr/share/base-files/dot.bashrc /root/.bashrc
cp ${options.privateKeyPath} /root/.ssh/id_ed25519 2>/dev/null || true
cat > /root/.ssh/authorized_keys <<'KEY'
${options.publicKey.trim()}
KEY
chmod 600 /root/.ssh/*
[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
cat > /etc/ssh/sshd_lab_config <<'CONFIG'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
CONFIG
# What systemd-sysctl does at boot.
[ ! -e /etc/sysctl.d/99-tkadm.conf ] || sysctl -q -p /etc/sysctl.d/99-tkadm.conf
/usr/sbin/sshd -f /etc/ssh/sshd_lab_config
set +e
touch ${directory}/ready
while :; do
  sleep 3600 &
  wait $!
done
`;
  return { outside, inside };
}
