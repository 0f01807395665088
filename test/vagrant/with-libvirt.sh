#!/bin/sh
# Runs a command with a libvirtd: the machine's own if it answers, else one in namespaces of its own, whose network,
# files and processes end with the command.
#
#   with-libvirt.sh COMMAND [ARGUMENT...]
set -eu

if [ "${1:-}" != --inside ]; then
  if virsh -c qemu:///system version >/dev/null 2>&1; then exec "$@"; fi
  state=$(mktemp -d /var/tmp/tkadm-libvirt-XXXXXX)
  trap 'rm -rf "$state"; rmdir /run/libvirt 2>/dev/null || true' EXIT
  unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside "$state" "$@"
  exit
fi

state=$2
shift 2
mkdir -p "$state/etc" "$state/lib/images" "$state/lib/qemu" "$state/log" "$state/cache"
cp -r /etc/libvirt/. "$state/etc/"
mount --bind "$state/etc" /etc/libvirt
mount --bind "$state/lib" /var/lib/libvirt
mount --bind "$state/cache" /var/cache/libvirt
mount --bind "$state/log" /var/log/libvirt
# Shows the interfaces of this network namespace, where bridges are set up.
mount -t sysfs sysfs /sys
mkdir -p /run/libvirt
mount -t tmpfs tmpfs /run/libvirt
# No cgroups, no helpers beside it, no other user: nothing outlives it.
cat > /etc/libvirt/qemu.conf <<'CONF'
user = "root"
group = "root"
remember_owner = 0
dynamic_ownership = 0
cgroup_controllers = [ ]
namespaces = [ ]
security_driver = "none"
stdio_handler = "file"
CONF
cat > /etc/libvirt/libvirtd.conf <<'CONF'
auth_unix_rw = "none"
auth_unix_ro = "none"
CONF
rm -f /etc/libvirt/qemu/networks/autostart/*
ip link set lo up
/usr/sbin/libvirtd -d
"$@"
