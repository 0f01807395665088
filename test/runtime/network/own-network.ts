import { spawnSync } from 'node:child_process';

/**
 * Imported first (before tap) by tests that change the network: starts this test file again inside network
 * and mount namespaces of its own, with an empty /run and /var/lib and the machine's cgroups, and ends this process with its exit code.
 * Everything that such a test leaves is gone with its last process.
 */
export const skipReason: string | false = process.getuid?.() === 0 ? false : 'needs root';

const MARK = 'TKADM_TEST_OWN_NETWORK';
const PREPARE = `set -e
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount -l /run/cgroup
rmdir /run/cgroup
mount -t tmpfs tmpfs /var/lib
ip link set lo up
# As on a machine without br_netfilter: what a bridge switches is not seen by the packet filter.
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; fi
exec "$@"`;

if (skipReason === false && process.env[MARK] === undefined) {
  const argv = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawnSync('unshare', ['--net', '--mount', 'sh', '-c', PREPARE, 'sh', ...argv], {
    stdio: 'inherit',
    env: { ...process.env, [MARK]: '1' },
  });
  process.exit(child.status ?? 1);
}
