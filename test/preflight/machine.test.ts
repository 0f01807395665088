import t from 'tap';
import { CHECKS } from '../../preflight/checks.ts';
import { type Finding, type PreflightInput, SCOPES } from '../../preflight/finding.ts';
import { runPreflight, selectRepairable } from '../../preflight/run.ts';
import { createPrivateMachine, type PrivateMachineOptions } from '../hosts/private-machine.ts';

// Every case is a machine of its own whose kernel state, files, sockets and processes are as the case says;
// numbers that only the whole machine has (processors, memory, swap, version) are files that are bound over.

const INPUT: PreflightInput = {
  scope: 'init',
  nodeName: 'node-1',
  kubernetesVersion: 'v1.36.2',
  ports: [6443, 10250],
  absentFiles: ['/etc/kubernetes/manifests/kube-apiserver.yaml'],
  emptyDirectories: ['/var/lib/etcd'],
  podCidrs: ['10.244.0.0/16'],
  serviceCidrs: ['10.96.0.0/12'],
  ignored: [],
  advertiseAddress: '10.9.0.5',
};
const UPSTREAM = { engine: 'upstream', criSocket: 'unix:///run/containerd/containerd.sock' } as const;
const SYSTEM = 'SystemVerification';

/** Binds a file with this text over another, also over one in /proc or /sys. */
const over = (path: string, text: string) => {
  const file = `/run/over-${path.replaceAll('/', '-')}`;
  return `printf '${text}' > ${file}; mount --bind ${file} ${path}`;
};
/** A process of this name that does nothing. */
const runs = (name: string) =>
  `cp /bin/sleep /run/${name}; /run/${name} 1000 & until grep -q . /proc/$!/cmdline; do :; done`;
/** Waits until a program that was started says that it listens. */
const HEARD = 'until [ -e /run/listens ]; do sleep 0.02; done';
const LISTEN = (target: string) =>
  `require("net").createServer().listen(${target}, () => require("fs").writeFileSync("/run/listens", ""))`;
const listens = (target: string) => `${process.execPath} -e '${LISTEN(target)}' & ${HEARD}`;
/** The same as a program of ours, which is told by its file's name. */
const runsOwn = (name: string, target: string) =>
  `printf '%s' '${LISTEN(target)}' > /run/${name}.cjs; ${process.execPath} /run/${name}.cjs & ${HEARD}`;

interface Case extends PrivateMachineOptions {
  readonly check: string;
  readonly title: string;
  readonly input?: Partial<PreflightInput>;
  /** Default: error. */
  readonly severity?: Finding['severity'];
  readonly says?: RegExp;
  readonly seen?: RegExp;
  readonly fix?: RegExp;
  /** It has no finding that is worse than a note. */
  readonly isGood?: boolean;
}

const warning = 'warning' as const;
const CASES: readonly Case[] = [
  { check: 'IsPrivilegedUser', title: 'another user', uid: 65534, seen: /65534/, fix: /sudo/ },
  {
    check: 'IsPrivilegedUser',
    title: 'another user, dry run',
    uid: 65534,
    input: { isDryRun: true },
    severity: warning,
  },
  {
    check: 'NumCPU',
    title: 'one processor',
    setup: over('/sys/devices/system/cpu/online', '0\\n'),
    seen: /shows 1$/,
  },
  {
    check: 'NumCPU',
    title: 'two processors with a gap',
    setup: over('/sys/devices/system/cpu/online', '0,2\\n'),
    isGood: true,
  },
  {
    check: 'Mem',
    title: 'little memory',
    setup: over('/proc/meminfo', 'MemTotal: 1600000 kB\\n'),
    seen: /1638 MB/,
  },
  {
    check: 'Swap',
    title: 'swap, again at the next boot',
    setup: `${over('/proc/swaps', 'Filename Type Size Used Priority\\n/dev/sda2 partition 1 0 -2\\n')}; echo 'UUID=1 none swap sw 0 0' > /etc/fstab`,
    severity: warning,
    seen: /\/dev\/sda2.*next boot/,
    fix: /swapoff -a.*fstab/,
  },
  { check: 'Hostname', title: 'a name that is none', input: { nodeName: 'a_b' }, says: /no DNS name/ },
  {
    check: 'Hostname',
    title: 'a name without address',
    setup: 'echo "hosts: files" > /etc/nsswitch.conf',
    input: { ...UPSTREAM, nodeName: 'nobody-knows' },
    severity: warning,
    fix: /10\.9\.0\.5 nobody-knows/,
  },
  {
    check: 'Hostname',
    title: 'a name in /etc/hosts',
    setup: 'echo "10.9.0.5 node-1" >> /etc/hosts',
    input: UPSTREAM,
    isGood: true,
  },
  {
    check: SYSTEM,
    title: 'an old kernel, upstream',
    setup: over('/proc/sys/kernel/osrelease', '4.19.0-1\\n'),
    input: UPSTREAM,
    severity: warning,
    seen: /4\.19\.0/,
  },
  {
    check: SYSTEM,
    title: 'a kernel that is too old for the bundled runtime',
    setup: over('/proc/sys/kernel/osrelease', '5.10.0-33-amd64\\n'),
    says: /needs Linux 5\.12/,
    seen: /5\.10\.0/,
  },
  {
    check: SYSTEM,
    title: 'a kernel without options',
    setup:
      'printf "CONFIG_INET=y\\nCONFIG_MEMCG=y\\n" | gzip > /run/config.gz; mount --bind /run/config.gz /proc/config.gz',
    says: /limits of processes/,
    seen: /\/proc\/config\.gz does not set CONFIG_CGROUP_PIDS/,
  },
  {
    check: SYSTEM,
    title: 'cgroup v1',
    severity: warning,
    says: /cgroup v1 works/,
    fix: /unified_cgroup_hierarchy=1/,
  },
  { check: SYSTEM, title: 'cgroup v1, upstream', input: UPSTREAM, says: /needs cgroup v2/ },
  {
    check: SYSTEM,
    title: 'cgroup v1 without memory',
    setup: 'umount /sys/fs/cgroup/memory',
    says: /missing: memory$/,
    seen: /cgroup v1 has/,
  },
  { check: SYSTEM, title: 'no cgroups', setup: 'umount -R /sys/fs/cgroup', says: /no cgroup hierarchy/ },
  {
    check: SYSTEM,
    title: 'cgroup v2 whose controllers are bound to v1',
    setup: 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup',
    says: /missing: cpu, cpuset, memory, pids/,
    seen: /cgroup v2 has/,
  },
  {
    check: SYSTEM,
    title: 'cgroup v2 with its controllers',
    setup: `umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; ${over('/sys/fs/cgroup/cgroup.controllers', 'cpuset cpu io memory hugetlb pids\\n')}`,
    isGood: true,
  },
  {
    check: SYSTEM,
    title: 'no right to make namespaces',
    without: ['sys_admin'],
    says: /namespaces of a container/,
    seen: /Operation not permitted/,
  },
  {
    check: SYSTEM,
    title: 'interfaces and rules that cannot be made',
    without: ['net_admin'],
    says: /cannot do nf_tables/,
    seen: /Operation not permitted/,
    fix: /^modprobe nf_tables$/,
  },
  {
    check: 'KernelLimits',
    title: 'few inotify instances',
    setup: over('/proc/sys/fs/inotify/max_user_instances', '16\\n'),
    severity: warning,
    seen: /max_user_instances is 16, 128 is advised/,
    fix: /sysctl -w fs\.inotify\.max_user_instances=128/,
  },
  {
    check: 'DiskSpace',
    title: 'a full disk',
    setup: 'mount -t tmpfs -o size=64m tmpfs /var/lib; head -c 40m /dev/zero > /var/lib/full',
    seen: /"\/var\/lib" on "tmpfs" has 24 MiB \(\d+ bytes\) free, 1124 MiB .* needed; on it: \/var\/lib\/tkadm/,
  },
  {
    check: 'DiskSpace',
    title: 'a tight disk',
    setup: 'mount -t tmpfs -o size=2g tmpfs /var/lib',
    severity: warning,
    seen: /advised/,
  },
  {
    check: 'DiskSpace',
    title: 'a full disk for logs alone',
    setup: 'mount -t tmpfs -o size=10m tmpfs /var/log',
    seen: /on it: \/var\/log \(logs\)$/,
  },
  {
    check: 'StateFileSystem',
    title: 'an overlay, which cannot be stacked',
    setup:
      'mkdir -p /mnt/s/u /mnt/s/w; mount -t overlay overlay -o lowerdir=/var/lib,upperdir=/mnt/s/u,workdir=/mnt/s/w /var/lib',
    says: /overlayfs/,
  },
  {
    check: 'TimeSync',
    title: 'a clock that nothing sets',
    severity: warning,
    seen: /adjtimex|nothing here tells/,
  },
  {
    check: 'TimeSync',
    title: 'a daemon that runs and has not set it yet',
    setup: runs('chronyd'),
    severity: warning,
    seen: /pid \d+ \(chronyd/,
  },
  {
    // No chrony is at hand; its documented words stand in for it.
    check: 'TimeSync',
    title: 'a clock that chrony keeps',
    setup:
      'mount --bind /dev/null /usr/bin/perl; printf "#!/bin/sh\\necho Leap status     : Normal\\n" > /usr/bin/chronyc; chmod 755 /usr/bin/chronyc',
    isGood: true,
  },
  {
    check: 'AdvertiseAddress',
    title: 'an address of no interface',
    input: { advertiseAddress: '10.9.0.6' },
    seen: /this machine has 10\.9\.0\.5 \(eth0\)/,
    fix: /--apiserver-advertise-address 10\.9\.0\.5$/,
  },
  {
    check: 'AdvertiseAddress',
    title: 'one of several',
    setup:
      'ip link add eth1 type veth peer name wire1; ip addr add 10.8.0.5/24 dev eth1; ip link set eth1 up',
    severity: warning,
    seen: /chosen: 10\.9\.0\.5 \(eth0\); others: 10\.8\.0\.5 \(eth1\)/,
    fix: /--apiserver-advertise-address 10\.8\.0\.5$/,
  },
  {
    check: 'AdvertiseAddress',
    title: 'one of several, given by the user',
    setup:
      'ip link add eth1 type veth peer name wire1; ip addr add 10.8.0.5/24 dev eth1; ip link set eth1 up',
    input: { isAddressGiven: true },
    isGood: true,
  },
  {
    check: 'AdvertiseAddress',
    title: 'a second address of the same card',
    setup: 'ip addr add 10.9.0.100/32 dev eth0',
    isGood: true,
  },
  {
    check: 'AdvertiseAddress',
    title: 'another one for the node agent',
    input: { nodeIp: '10.8.0.5' },
    severity: warning,
    says: /agent would use 10\.8\.0\.5, and the API server 10\.9\.0\.5/,
  },
  {
    check: 'AdvertiseAddress',
    title: 'a bridge of containers',
    setup: 'ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0',
    input: { advertiseAddress: '172.17.0.1' },
    severity: warning,
    says: /"docker0" is not reached/,
    fix: /10\.9\.0\.5/,
  },
  {
    check: 'AdvertiseAddress',
    title: 'a bridge beside the real one',
    setup: 'ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0',
    isGood: true,
  },
  {
    check: 'AdvertiseAddress',
    title: 'another way to the API server',
    setup:
      'ip link add eth1 type veth peer name wire1; ip addr add 10.8.0.5/24 dev eth1; ip link set wire1 up; ip link set eth1 up',
    input: { scope: 'join', apiServer: '10.8.0.1:6443' },
    severity: warning,
    seen: /src 10\.8\.0\.5/,
  },
  {
    check: 'CIDROverlap',
    title: 'pods and Services',
    input: { podCidrs: ['10.96.128.0/20'] },
    seen: /10\.96\.128\.0\/20.*10\.96\.0\.0\/12/,
  },
  {
    check: 'CIDROverlap',
    title: 'the own address',
    input: { podCidrs: ['10.9.0.0/16'] },
    says: /own address/,
  },
  {
    check: 'CIDROverlap',
    title: 'a route',
    setup: 'ip route add 10.244.7.0/24 via 10.9.0.2',
    severity: warning,
    seen: /10\.244\.7\.0\/24 dev eth0/,
  },
  {
    check: 'CIDROverlap',
    title: 'a name server',
    setup: 'echo nameserver 10.100.0.53 > /etc/resolv.conf',
    severity: warning,
    seen: /10\.100\.0\.53/,
  },
  {
    check: 'CIDRFamily',
    title: 'Services of a family that pods have not',
    input: { serviceCidrs: ['10.96.0.0/12', 'fd00:1::/112'] },
    says: /IPv6/,
  },
  {
    check: 'CIDRFamily',
    title: 'an address of another family',
    input: { serviceCidrs: ['fd00:1::/112'], podCidrs: ['fd00:2::/56'] },
    severity: warning,
    says: /IPv4/,
  },
  {
    check: 'Port-6443',
    title: 'a listener',
    setup: listens('6443, "0.0.0.0"'),
    seen: /pid \d+ \(\S+, ".*node"\) listens/,
    fix: /kill \d+/,
  },
  { check: 'Port-10250', title: 'an IPv6 listener', setup: listens('10250, "::1"'), seen: /listens/ },
  {
    check: 'Port-10250',
    title: 'a stranger on a node of ours',
    setup: listens('10250'),
    input: { isOwnNode: true },
    seen: /listens/,
  },
  {
    check: 'Port-10250',
    title: 'our own agent on a node of ours',
    setup: runsOwn('tkadm-agent', '10250'),
    input: { isOwnNode: true },
    isGood: true,
  },
  { check: 'Port-6443', title: 'another port', setup: listens('6444'), isGood: true },
  {
    check: 'FileContent--proc-sys-net-ipv4-ip_forward',
    title: 'no forwarding',
    setup: 'echo 0 > /proc/sys/net/ipv4/ip_forward',
    seen: /is 0$/,
    fix: /sysctl -w net\.ipv4\.ip_forward=1/,
  },
  {
    check: 'FileContent--proc-sys-net-ipv6-conf-default-forwarding',
    title: 'no forwarding of IPv6',
    setup: 'echo 0 > /proc/sys/net/ipv6/conf/default/forwarding',
    input: { podCidrs: ['fd00:2::/56'], serviceCidrs: ['fd00:1::/112'] },
    seen: /is 0$/,
  },
  {
    check: 'FileContent--proc-sys-net-ipv6-conf-default-forwarding',
    title: 'no forwarding of IPv6, which is not used',
    setup: 'echo 0 > /proc/sys/net/ipv6/conf/default/forwarding',
    isGood: true,
  },
  {
    check: 'Firewalld',
    title: 'a firewall',
    setup: runs('firewalld'),
    severity: warning,
    seen: /pid \d+ \(firewalld/,
    fix: /--add-port=6443\/tcp --add-port=10250\/tcp/,
  },
  {
    check: 'HTTPProxy',
    title: 'a proxy',
    input: { env: { HTTPS_PROXY: 'http://user:secret@proxy:3128' } },
    severity: warning,
    says: /https:\/\/10\.9\.0\.5/,
    fix: /NO_PROXY=10\.9\.0\.5,10\.244\.0\.0\/16,10\.96\.0\.0\/12/,
  },
  {
    check: 'HTTPProxy',
    title: 'a proxy with exceptions',
    input: { env: { https_proxy: 'http://proxy:3128', no_proxy: 'localhost, 10.0.0.0/8' } },
    isGood: true,
  },
  {
    check: 'HTTPProxy',
    title: "a proxy before a joining node's API server",
    input: {
      scope: 'join',
      apiServer: 'api.example.com:6443',
      env: { https_proxy: 'x', NO_PROXY: '.other.com' },
    },
    severity: warning,
    says: /api\.example\.com/,
  },
  {
    check: 'HTTPProxy',
    title: 'an excepted domain',
    input: {
      scope: 'join',
      apiServer: 'api.example.com:6443',
      env: { https_proxy: 'x', NO_PROXY: '.example.com' },
    },
    isGood: true,
  },
  {
    check: 'HTTPProxyCIDR',
    title: 'a proxy before a range',
    input: { env: { HTTPS_PROXY: 'x', NO_PROXY: '10.9.0.5,10.244.0.0/16' } },
    severity: warning,
    says: /10\.96\.0\.0\/12/,
  },
  {
    check: 'FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml',
    title: 'an old manifest',
    setup: 'mkdir -p /etc/kubernetes/manifests; : > /etc/kubernetes/manifests/kube-apiserver.yaml',
    fix: /tkadm reset/,
  },
  {
    check: 'FileAvailable--etc-kubernetes-kubelet.conf',
    title: 'a control plane that is to join',
    input: { scope: 'join', absentFiles: ['/etc/kubernetes/kubelet.conf'] },
    setup: `mkdir -p /etc/kubernetes/manifests
: > /etc/kubernetes/manifests/kube-apiserver.yaml; : > /etc/kubernetes/kubelet.conf`,
    seen: /a control-plane node of a cluster/,
    fix: /ends its cluster/,
  },
  {
    check: 'DirAvailable--var-lib-etcd',
    title: "another etcd's data",
    setup: 'mkdir -p /var/lib/etcd/member',
    seen: /1 entry/,
    fix: /mv \/var\/lib\/etcd /,
  },
  {
    check: 'DirAvailable--var-lib-etcd',
    title: 'an empty directory',
    setup: 'mkdir /var/lib/etcd',
    isGood: true,
  },
  {
    check: 'StoreWithoutCertificates',
    title: 'objects of an earlier cluster',
    setup: 'mkdir -p /var/lib/tkadm/store; : > /var/lib/tkadm/store/data.mdb',
    severity: warning,
    seen: /data\.mdb/,
  },
  {
    check: 'FileExisting-nft',
    title: 'a command that is missing',
    setup: 'rm /usr/sbin/nft',
    fix: /install -y --no-install-recommends nftables/,
  },
  {
    check: 'FileExisting-nft',
    title: 'one that upstream does not need',
    setup: 'rm /usr/sbin/nft',
    input: UPSTREAM,
    isGood: true,
  },
  { check: 'FileExisting-losetup', title: 'losetup', setup: 'rm /usr/sbin/losetup', input: UPSTREAM },
  {
    check: 'StaticPodManifest',
    title: 'a worker',
    input: { scope: 'upgrade', presentFiles: ['/etc/kubernetes/manifests/kube-apiserver.yaml'] },
    seen: /kube-apiserver\.yaml/,
  },
  {
    check: 'StaticPodManifest',
    title: 'a control plane',
    setup: 'mkdir -p /etc/kubernetes/manifests; : > /etc/kubernetes/manifests/kube-apiserver.yaml',
    input: { scope: 'upgrade', presentFiles: ['/etc/kubernetes/manifests/kube-apiserver.yaml'] },
    isGood: true,
  },
  {
    check: 'OtherCluster',
    title: 'a kubelet',
    setup: runs('kubelet'),
    seen: /pid \d+ \(kubelet/,
    fix: /disable --now kubelet/,
  },
  {
    check: 'OtherCluster',
    title: 'a kubelet, upstream',
    setup: runs('kubelet'),
    input: UPSTREAM,
    isGood: true,
  },
  {
    check: 'OtherCluster',
    title: 'a kubelet, reset',
    setup: runs('kubelet'),
    input: { scope: 'reset' },
    says: /a kubelet runs .* would be removed with ours/,
    fix: /kubeadm reset/,
  },
  {
    check: 'OtherCluster',
    title: "k0s' data, reset",
    setup: 'mkdir -p /var/lib/k0s',
    input: { scope: 'reset' },
    isGood: true,
  },
  { check: 'OtherCluster', title: 'k3s', setup: runs('k3s-server'), says: /k3s runs/, fix: /k3s-uninstall/ },
  {
    check: 'OtherCluster',
    title: "k0s' data",
    setup: 'mkdir -p /var/lib/k0s',
    severity: warning,
    says: /k0s was/,
  },
  {
    check: 'OtherCluster',
    title: 'an API server of somebody else',
    setup: runs('kube-apiserver'),
    severity: warning,
    seen: /kube-apiserver/,
  },
  {
    check: 'CNIConfig',
    title: 'another pod network',
    setup: 'mkdir -p /etc/cni/net.d; : > /etc/cni/net.d/05-x.conflist; : > /etc/cni/net.d/10-tkadm.conflist',
    severity: warning,
    seen: /has 05-x\.conflist$/,
    fix: /mv \/etc\/cni\/net\.d\/05-x\.conflist/,
  },
  {
    check: 'SELinux',
    title: 'enforcing',
    setup: 'mount -t tmpfs tmpfs /sys/fs; mkdir /sys/fs/selinux; echo 1 > /sys/fs/selinux/enforce',
    severity: warning,
    fix: /setenforce 0/,
  },
  {
    check: 'CRI',
    title: 'a stranger at our socket',
    setup: `mkdir -p /run/tkadm; ${listens('"/run/tkadm/runtime.sock"')}`,
    says: /another program listens/,
    seen: /pid \d+/,
  },
  {
    check: 'CRI',
    title: 'our own runtime at its socket',
    setup: `mkdir -p /run/tkadm; ${runsOwn('tkadm-runtime', '"/run/tkadm/runtime.sock"')}`,
    isGood: true,
  },
  {
    check: 'CRI',
    title: 'a socket file that nobody listens at',
    setup: `mkdir -p /run/tkadm; ${process.execPath} -e 'require("net").createServer().listen("/run/tkadm/runtime.sock", () => process.kill(process.pid, 9))' || :`,
    isGood: true,
  },
  {
    check: 'CRI',
    title: 'no runtime, but another',
    setup: `mkdir -p /run/crio; ${listens('"/run/crio/crio.sock"')}`,
    input: UPSTREAM,
    seen: /found: \/var\/run\/crio\/crio\.sock/,
    fix: /--cri-socket unix:\/\/\/var\/run\/crio\/crio\.sock/,
  },
  {
    check: 'KubernetesVersion',
    title: 'a newer one',
    input: { kubernetesVersion: 'v1.37.0' },
    severity: warning,
    says: /v1\.37\.0/,
  },
  {
    check: 'KubeletVersion',
    title: 'an agent that is too new',
    input: { kubernetesVersion: 'v1.35.0' },
    says: /newer/,
  },
  { check: 'KubeletVersion', title: 'no kubelet', input: UPSTREAM, seen: /not in PATH/ },
  {
    // No kubelet is at hand; what it prints stands in for it.
    check: 'KubeletVersion',
    title: 'an old kubelet',
    setup: 'printf "#!/bin/sh\\necho Kubernetes v1.32.4\\n" > /usr/bin/kubelet; chmod 755 /usr/bin/kubelet',
    input: UPSTREAM,
    says: /more than 3/,
  },
  {
    check: 'KubeletVersion',
    title: 'a kubelet of the same release',
    setup: 'printf "#!/bin/sh\\necho Kubernetes v1.36.0\\n" > /usr/bin/kubelet; chmod 755 /usr/bin/kubelet',
    input: UPSTREAM,
    isGood: true,
  },
  {
    check: 'Service-kubelet',
    title: 'a second agent at the next boot',
    setup:
      'mkdir -p /etc/systemd/system/multi-user.target.wants; ln -s /x /etc/systemd/system/multi-user.target.wants/kubelet.service',
    severity: warning,
    fix: /disable --now kubelet/,
  },
  {
    check: 'Service-kubelet',
    title: 'no unit, upstream',
    input: UPSTREAM,
    severity: warning,
    says: /no service/,
  },
  {
    check: 'Service-kubelet',
    title: 'a unit that is not enabled, upstream',
    setup: 'mkdir -p /etc/systemd/system; : > /etc/systemd/system/kubelet.service',
    input: UPSTREAM,
    severity: warning,
    fix: /systemctl enable kubelet/,
  },
  {
    check: 'ExternalEtcdClientCertificates',
    title: 'files that are missing',
    setup: 'mkdir -p /etc/etcd; : > /etc/etcd/ca.crt',
    input: {
      externalEtcd: {
        endpoints: [],
        caFile: '/etc/etcd/ca.crt',
        certFile: '/etc/etcd/a.crt',
        keyFile: '/etc/etcd/a.key',
      },
    },
    says: /a\.crt/,
  },
];

/** Rows whose other side is a server or a certificate. */
const ELSEWHERE = {
  'remote.test.ts': ['ClockSkew', 'ExternalEtcdVersion', 'ExistingCertificates'],
  'container-runtime.test.ts': ['ContainerRuntimeVersion', 'CgroupDriver', 'ImagePull'],
  'upgrade.test.ts': [
    'CoreDNSUnsupportedPlugins',
    'CoreDNSMigration',
    'ControlPlaneNodesReady',
    'CreateJob',
    'ProductUUID',
  ],
};

const skip = process.getuid?.() === 0 ? false : 'needs root';

t.test('every row of CHECKS has a case that it reports', (t) => {
  const tested = [
    ...CASES.filter((row) => !row.isGood).map((row) => row.check),
    ...Object.values(ELSEWHERE).flat(),
  ];
  for (const { name } of CHECKS)
    t.ok(
      tested.some((check) => check === name || check.startsWith(`${name}-`)),
      name,
    );
  t.end();
});

t.test('a machine that is as it should be', { skip }, async (t) => {
  const machine = await createPrivateMachine();
  t.teardown(() => machine.close());
  for (const scope of SCOPES) {
    const { findings, checks } = await runPreflight(machine.host, { ...INPUT, scope });
    const known = /cgroup v1 works|clock is not synchronised/;
    t.same(
      findings.filter((row) => row.severity !== 'note' && !known.test(row.reason)),
      [],
      scope,
    );
    t.equal(checks.length, CHECKS.filter((row) => row.scopes.includes(scope)).length);
  }
});

for (const row of CASES) {
  t.test(`${row.check}: ${row.title}`, { skip }, async (t) => {
    const machine = await createPrivateMachine(row);
    t.teardown(() => machine.close());
    const checks = CHECKS.filter(
      (check) => row.check === check.name || row.check.startsWith(`${check.name}-`),
    );
    const { findings } = await runPreflight(machine.host, { ...INPUT, ...row.input }, { checks });
    const found = findings.filter((finding) => finding.check === row.check);
    if (row.isGood) {
      t.same(
        found.filter((finding) => finding.severity !== 'note'),
        [],
      );
      return;
    }
    const { severity = 'error', says = /./, seen = /./, fix } = row;
    const match = found.find((finding) => says.test(finding.reason) && seen.test(finding.evidence));
    t.ok(match, `a finding says ${says} and has seen ${seen}: ${JSON.stringify(found, null, 1)}`);
    t.equal(match?.severity, severity);
    if (fix) t.match(match?.fix, fix);
    t.notMatch(JSON.stringify(findings), /secret/, 'no password of a proxy is shown');
  });
}

t.test('--fix repairs what it says, on the machine itself', { skip }, async (t) => {
  const machine = await createPrivateMachine({ setup: 'echo 0 > /proc/sys/net/ipv4/ip_forward' });
  t.teardown(() => machine.close());
  const look = (ignored: readonly string[]) => runPreflight(machine.host, { ...INPUT, ignored });
  const name = 'FileContent--proc-sys-net-ipv4-ip_forward';
  t.same(selectRepairable((await look([name])).findings), [], 'not what is ignored');
  const repairable = selectRepairable((await look([])).findings);
  t.same(
    repairable.map((finding) => finding.check),
    [name],
  );
  for (const argv of repairable.flatMap((finding) => finding.repair ?? [])) {
    t.equal((await machine.host.run(argv)).exitCode, 0);
    t.equal((await machine.host.run(argv)).exitCode, 0, 'and again');
  }
  t.equal(await machine.host.readFile('/proc/sys/net/ipv4/ip_forward'), '1\n');
  t.equal(await machine.host.readFile('/etc/sysctl.d/99-tkadm.conf'), 'net.ipv4.ip_forward=1\n');
  t.notOk((await look([])).findings.some((finding) => finding.check === name));
});
