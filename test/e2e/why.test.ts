import { existsSync } from 'node:fs';
import t from 'tap';
import { issueCertificate } from '../../pki/issue.ts';
import { BROKEN_REGISTRY, startBrokenRegistry } from '../hosts/broken-registry.ts';
import {
  apply,
  componentPattern,
  eventually,
  findPids,
  follow,
  initCluster,
  joinCluster,
  kubectl,
  kubectlText,
  labObstacle,
  TKADM,
  tkadm,
} from '../hosts/cluster.ts';
import { type CommandOutput, createLab, type LabHost } from '../hosts/lab.ts';

interface Finding {
  readonly name: string;
  readonly subject: string;
  readonly confidence: string;
  readonly cause: string;
  readonly fix: string;
  readonly evidence: readonly string[];
}

interface Document {
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  readonly unseen: readonly string[];
}

/** Something that is broken on a host, and mended. */
interface HostFault {
  readonly row: string;
  /** POSIX sh, as root. */
  readonly inject: string;
  readonly undo: string;
  readonly cause: RegExp;
  readonly fix: RegExp;
  /** Asked from the control plane, over SSH. */
  readonly isRemote?: true;
  /** The cause that comes second. */
  readonly also?: RegExp;
  /** It is injected on the control plane. */
  readonly isOfServer?: true;
  /** A pod that may be new is its cause. */
  readonly isOfPod?: true;
  /** It stands beside others. */
  readonly isSecond?: true;
}

const BLKIO = '/sys/fs/cgroup/blkio';
const THROTTLE = 'blkio.throttle.write_iops_device';
const CNI = '/etc/cni/net.d';
/** Ends a host service for good: its supervisor first. */
const end = (service: string) =>
  `for role in supervisor service; do kill -9 $(cat /run/tkadm/${service}.$role.pid); done`;
const START = `${process.execPath} ${new URL('../../dist/tkadm.js', import.meta.url).pathname} service start`;
const dropAt = (hook: string, rule: string) =>
  `nft -f - <<'END'
table inet fault { chain c { type filter hook ${hook} priority 0; ${rule}; }; }
END`;
const drop = (hook: string, port: number) => dropAt(hook, `tcp dport ${port} drop`);
const UNDROP = 'nft delete table inet fault';

const WORKER_FAULTS: readonly HostFault[] = [
  {
    row: 'agent-stopped',
    inject: end('tkadm-agent'),
    undo: START,
    cause: /tkadm-agent does not run on node1/,
    fix: /tkadm service start/,
    isRemote: true,
  },
  {
    row: 'runtime-stopped',
    inject: end('tkadm-runtime'),
    undo: START,
    cause: /tkadm-runtime does not run on node1/,
    fix: /tkadm service start/,
  },
  {
    row: 'port-taken',
    inject: `${end('tkadm-agent')}; /usr/sbin/sshd -p 10250 -o PidFile=/run/fault.pid`,
    undo: `kill $(cat /run/fault.pid); ${START}`,
    cause: /port 10250 of node1 is taken by pid \d+ \(sshd/,
    fix: /stop that program/,
    isSecond: true,
  },
  {
    row: 'bundle-damaged',
    inject: 'cd /var/lib/tkadm/bundle/current && mv image.json kept',
    undo: 'cd /var/lib/tkadm/bundle/current && mv kept image.json',
    cause: /the node bundle of node1 is damaged/,
    fix: /tkadm join again/,
  },
  {
    row: 'cni-missing',
    inject: `mv ${CNI}/10-tkadm.conflist /run/`,
    undo: `mv /run/10-tkadm.conflist ${CNI}/`,
    cause: /node1 has no network for pods/,
    fix: /the agent writes its own anew/,
  },
  {
    row: 'cni-broken',
    inject: `echo '{"plugins":[{"type":"absent"}]}' >${CNI}/00-other.conflist`,
    undo: `rm ${CNI}/00-other.conflist`,
    cause: /network configuration of node1 cannot be used/,
    fix: /remove "\/etc\/cni\/net\.d\/00-other\.conflist"/,
  },
  {
    row: 'disk-full',
    inject: 'mount -t tmpfs -o size=64m none /var/log && head -c 50m /dev/zero >/var/log/big',
    undo: 'umount /var/log',
    cause: /no space is left on the file system of "\/var\/log" on node1/,
    fix: /make room/,
  },
  {
    row: 'file-system-read-only',
    inject: 'mount -t tmpfs -o ro none /var/log',
    undo: 'umount /var/log',
    cause: /"\/var\/log" on node1 cannot be written/,
    fix: /remount,rw/,
  },
  {
    row: 'api-blocked',
    inject: drop('output', 6443),
    undo: UNDROP,
    cause: /a firewall rule of node1 drops what goes to the API server, port 6443/,
    fix: /accept TCP port 6443/,
  },
  {
    row: 'agent-port-blocked',
    inject: drop('input', 10250),
    undo: UNDROP,
    cause: /a firewall rule of node1 drops what comes to its agent/,
    fix: /accept TCP port 10250/,
    isRemote: true,
  },
  {
    row: 'api-blocked',
    inject: `${dropAt('input', 'iifname "eth0" tcp dport 6000-6500 drop')}
nft 'add chain inet fault o { type filter hook output priority 0; }; add rule inet fault o tcp dport 10250 drop'`,
    undo: UNDROP,
    cause: /a firewall rule of cp drops what comes from node1 to the API server, port 6443/,
    fix: /on cp: take the rule away/,
    also: /a firewall rule of cp drops what goes to the agent of node1/,
    isRemote: true,
    isOfServer: true,
  },
  {
    row: 'pod-route-missing',
    inject: 'ip route show proto 116 >/run/kept; ip route flush proto 116',
    undo: 'while read -r range via address rest; do ip route replace $range via $address proto 116; done </run/kept',
    cause: /node1 has no route to the pods of cp/,
    fix: /on node1: ip route replace 10\.244\.0\.0\/24 via [\d.]+ proto 116/,
    isRemote: true,
  },
  {
    row: 'pod-path-blocked',
    inject: dropAt('forward', 'policy drop; tcp dport 9 accept'),
    undo: UNDROP,
    cause: /a firewall rule of node1 drops what goes between pods: those of node1 are not reached from cp/,
    fix: /on node1: .* accept what is forwarded/,
    isRemote: true,
  },
  {
    row: 'pods-unreached',
    inject: 'echo 0 >/proc/sys/net/ipv4/ip_forward',
    undo: 'echo 1 >/proc/sys/net/ipv4/ip_forward',
    cause: /the pods of node1 are not reached from cp: cp forwards no packets/,
    fix: /on cp: sysctl -w net\.ipv4\.ip_forward=1/,
    isRemote: true,
    isOfServer: true,
  },
  {
    row: 'ip-forward-off',
    inject: 'echo 0 >/proc/sys/net/ipv4/ip_forward',
    undo: 'echo 1 >/proc/sys/net/ipv4/ip_forward',
    cause: /node1 forwards no packets/,
    fix: /sysctl -w net\.ipv4\.ip_forward=1/,
  },
  {
    row: 'mtu-wrong',
    inject:
      'ip link add tkadm0 type bridge 2>/dev/null || true; ip link set tkadm0 mtu 1500; ip link set eth0 mtu 1400',
    undo: 'ip link set eth0 mtu 1500',
    cause: /large packets of pods are lost on node1/,
    fix: /ip link set eth0 mtu 1500/,
  },
  {
    row: 'proxy-rules-missing',
    inject: 'nft delete table ip kube-proxy',
    undo: 'true',
    cause: /Services are not reached from node1/,
    fix: /delete pod -l k8s-app=kube-proxy --field-selector spec\.nodeName=node1/,
    isRemote: true,
    isOfPod: true,
  },
  {
    row: 'clock-wrong',
    inject: `cp -p /etc/kubernetes/kubelet.conf /run/kept
setsid ${process.execPath} -e "require('http').createServer((q, a) => { a.setHeader('Date', new Date(Date.now() - 3600000).toUTCString()); a.end('{}'); }).listen(7080, '127.0.0.1', () => require('fs').writeFileSync('/run/listens', ''))" >/dev/null 2>&1 </dev/null &
echo $! >/run/fault.pid
while [ ! -e /run/listens ]; do sleep 0.05; done
sed -i 's#server: .*#server: http://127.0.0.1:7080#' /etc/kubernetes/kubelet.conf`,
    undo: 'mv /run/kept /etc/kubernetes/kubelet.conf; kill $(cat /run/fault.pid); rm /run/listens',
    cause: /the clock of node1 is 3[56]\d\d s ahead of the API server's/,
    fix: /timedatectl set-ntp true/,
  },
];

/** A disk that takes two writes a second, of 128 MiB, under the state of a node. */
const SLOW_DISK = `mkdir /run/slow && truncate -s 128M /run/slow.img && mkfs.ext4 -q -O ^has_journal /run/slow.img
mount -o loop /run/slow.img /run/slow
mkdir /run/slow/bundle && mount --bind /var/lib/tkadm/bundle /run/slow/bundle && mount --rbind /run/slow /var/lib/tkadm
mkdir ${BLKIO}/slow && echo "$(mountpoint -d /run/slow) 2" >${BLKIO}/slow/${THROTTLE}
echo $$ >${BLKIO}/slow/cgroup.procs`;

/** Those that are there for the command alone, in a mount namespace that it shares with the script. */
const PRIVATE_FAULTS: readonly (HostFault & { readonly needs: readonly string[] })[] = [
  {
    row: 'disk-slow',
    inject: SLOW_DISK,
    undo: `rmdir ${BLKIO}/slow; rm -r /run/slow /run/slow.img`,
    cause: /the disk of node1 is slow/,
    fix: /faster disk/,
    needs: [`${BLKIO}/${THROTTLE}`, '/dev/loop-control', '/sbin/mkfs.ext4'],
  },
  {
    row: 'cgroup-controllers-missing',
    inject: 'umount /sys/fs/cgroup/pids',
    undo: 'true',
    cause: /the kernel of node1 lacks cgroup controllers/,
    fix: /without cgroup_disable/,
    needs: ['/sys/fs/cgroup/pids/tasks'],
  },
];

const NODE_IMAGE = 'tkadm.local/coredns:v1.36.2';
const run = (script: string) => `command: [node, -e, ${JSON.stringify(script)}]`;

/** A pod that is well on a node, with a port at which it answers. */
const wellPod = (node: string) => `apiVersion: v1
kind: Pod
metadata: {name: well-${node}}
spec:
  nodeName: ${node}
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: "${NODE_IMAGE}", ports: [{containerPort: 80}], ${run('require("net").createServer().listen(80)')}}]
`;

const onNode1 = (image: string) => `nodeName: node1\n  containers: [{name: a, image: "${image}"}]`;

/** Pods that do not work, with the cause that is to be named. */
const POD_FAULTS: Readonly<
  Record<string, { readonly spec: string; readonly cause: RegExp; readonly fix: RegExp }>
> = {
  'registry-unreachable': {
    spec: 'containers: [{name: a, image: "127.0.0.1:5/x:1"}]',
    cause: /image "127\.0\.0\.1:5\/x:1" .* its registry is not reached/,
    fix: /tkadm image load/,
  },
  'registry-unknown': {
    spec: onNode1('registry.invalid:5000/x:1'),
    cause: /the registry's name is not resolved/,
    fix: /\/etc\/resolv\.conf of the node/,
  },
  'registry-denied': {
    spec: onNode1(`${BROKEN_REGISTRY}/denied:1`),
    cause: /its registry wants credentials/,
    fix: /imagePullSecrets/,
  },
  'image-not-found': {
    spec: onNode1(`${BROKEN_REGISTRY}/absent:1`),
    cause: /its registry has no such image or tag/,
    fix: /correct the image's name or tag/,
  },
  'image-platform-wrong': {
    spec: onNode1(`${BROKEN_REGISTRY}/foreign:1`),
    cause: /it is not made for the node's architecture/,
    fix: /kubernetes\.io\/arch/,
  },
  'image-damaged': {
    spec: onNode1(`${BROKEN_REGISTRY}/damaged:1`),
    cause: /what its registry sends is damaged/,
    fix: /push the image again/,
  },
  'image-disk-full': {
    spec: onNode1(`${BROKEN_REGISTRY}/large:1`),
    cause: /the disk of the node has no room for its layers/,
    fix: /tkadm image prune/,
  },
  'image-never-pulled': {
    spec: 'containers: [{name: a, image: "shop/web:1", imagePullPolicy: Never}]',
    cause: /imagePullPolicy Never forbids to pull it/,
    fix: /tkadm image load/,
  },
  'image-name-invalid': {
    spec: 'containers: [{name: a, image: "UPPER//bad::1"}]',
    cause: /its name is not of the form/,
    fix: /correct the image's name/,
  },
  'object-missing': {
    spec: `containers: [{name: a, image: "${NODE_IMAGE}", envFrom: [{configMapRef: {name: absent}}]}]`,
    cause: /ConfigMap "absent" .* is not there/,
    fix: /kubectl -n default create configmap absent/,
  },
  'container-crashing': {
    spec: `containers: [{name: a, image: "${NODE_IMAGE}", ${run("console.error('no database here'); process.exit(3)")}}]`,
    cause: /ends with exit code 3/,
    fix: /kubectl logs -n default container-crashing -c a --previous/,
  },
  'out-of-memory': {
    spec: `containers: [{name: a, image: "${NODE_IMAGE}", resources: {limits: {memory: 64Mi}}, ${run('const a=[];for(;;)a.push(Buffer.alloc(1e7,1))')}}]`,
    cause: /more memory than its limit of 64Mi/,
    fix: /raise resources\.limits\.memory/,
  },
  'command-not-found': {
    spec: `containers: [{name: a, image: "${NODE_IMAGE}", command: [/nowhere]}]`,
    cause: /the program of container a .* cannot be started/,
    fix: /correct command and args/,
  },
  'resources-short': {
    spec: `containers: [{name: a, image: "${NODE_IMAGE}", resources: {requests: {cpu: 900}}}]`,
    cause: /no node has what it requests/,
    fix: /lower resources\.requests/,
  },
  'selector-without-node': {
    spec: `nodeSelector: {disk: none}\n  containers: [{name: a, image: "${NODE_IMAGE}"}]`,
    cause: /no node has the labels/,
    fix: /kubectl label node/,
  },
  'claim-missing': {
    spec: `containers: [{name: a, image: "${NODE_IMAGE}"}]\n  volumes: [{name: s, persistentVolumeClaim: {claimName: absent}}]`,
    cause: /a PersistentVolumeClaim of it is not there/,
    fix: /kubectl -n default get pvc/,
  },
  'readiness-failing': {
    spec: `containers: [{name: a, image: "${NODE_IMAGE}", ${run('setInterval(() => {}, 1e6)')}, readinessProbe: {periodSeconds: 1, tcpSocket: {port: 81}}}]`,
    cause: /its readiness probe fails/,
    fix: /kubectl logs -n default readiness-failing -c a/,
  },
};

async function ask(
  host: LabHost,
  args: readonly string[] = [],
): Promise<Document & { readonly exitCode: number }> {
  return parse(await tkadm(host, ['why', ...args, '--ssh-host-keys', 'accept-new', '-o', 'json']));
}

/** After a script in a mount namespace that both share, and which ends in the cgroup that was there before. */
async function askBehind(host: LabHost, script: string) {
  const why = [process.execPath, TKADM, 'why', '-o', 'json'];
  const whole = `${script}\n"$@" || true; echo $$ >${BLKIO}/cgroup.procs`;
  return parse(await host.exec(['unshare', '-m', 'sh', '-ec', whole, 'sh', ...why]));
}

function parse({ exitCode, stdout, stderr }: CommandOutput): Document & { readonly exitCode: number } {
  if (!stdout.startsWith('{')) throw new Error(stdout + stderr);
  const document = JSON.parse(stdout) as Document & { readonly type?: string };
  if (document.findings === undefined) throw new Error(stdout);
  return { ...document, exitCode };
}

t.test('tkadm why', { skip: labObstacle(), timeout: 580_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1', 'idle'] });
  t.teardown(() => lab.close());
  const [cp, node1, idle] = lab.hosts as [LabHost, LabHost, LabHost];
  const sh = async (host: LabHost, script: string) => {
    const { exitCode, stdout, stderr } = await host.exec(['sh', '-ec', script], { timeoutMs: 60_000 });
    if (exitCode !== 0) throw new Error(`${script}: exit code ${exitCode}: ${stderr}`);
    return stdout;
  };
  /** Until nothing is wrong, as what was mended takes its time. */
  const healthy = (host: LabHost, args: readonly string[] = []) =>
    eventually(
      `nothing wrong: ${args.join(' ')}`,
      60_000,
      async () => (await ask(host, args)).exitCode === 0,
      async () => JSON.stringify(await ask(host, args), undefined, 1),
    );

  await t.test('without a cluster says so', async (t) => {
    const text = await tkadm(idle, ['why']);
    t.equal(text.exitCode, 7, text.all);
    t.match(text.stdout, /"idle" has no cluster/);
    t.match(text.stdout, /fix {3}tkadm init, or tkadm join/);
  });

  await joinCluster(node1, await initCluster(cp));

  await t.test('of a cluster that is well finds nothing, also as a plain user', async (t) => {
    await healthy(cp);
    await healthy(cp, ['node/node1']);
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    const plain = await cp.exec([...user, process.execPath, TKADM, 'why']);
    t.match(plain.stdout, /Not seen:[\s\S]*what only root may see: sudo tkadm why/, plain.stderr);
    t.match(plain.stdout, /permission denied/);
    const list = await cp.exec([...user, process.execPath, TKADM, 'token', 'list']);
    t.match(list.stderr, /try: the same command with sudo; .*export KUBECONFIG=FILE/);
    const missing = await tkadm(cp, ['why', 'node/absent']);
    t.match(missing, { exitCode: 7, stderr: /the cluster has no such node/ });
  });

  await t.test('status shows the cluster at a glance', async (t) => {
    const status = await tkadm(cp, ['status', '-o', 'json']);
    t.match(JSON.parse(status.stdout), {
      ok: true,
      api: 'ok',
      version: 'v1.36.2',
      nodes: [
        { name: 'cp', roles: ['control-plane'], ready: true, memoryUsedBytes: Number },
        { name: 'node1', ready: true },
      ],
      components: [{ name: 'kube-apiserver', ready: 1, wanted: 1 }],
      addons: [{ name: 'kube-proxy', ready: 2 }, { name: 'coredns' }],
      storeBytes: Number,
      nextExpiry: { notAfter: String },
    });
    const watch = follow(cp, [process.execPath, TKADM, 'status', '--watch', '--interval', '1', '-o', 'json']);
    const lines = () => watch.text().split('\n').filter(Boolean);
    await eventually('three looks', 30_000, async () => lines().length >= 4);
    await watch.stop();
    t.match(JSON.parse(lines()[2] ?? ''), { time: String, ok: true });
    const text = await tkadm(cp, ['status']);
    t.match(text.stdout, /node1 +Ready +<none>/);
  });

  await startBrokenRegistry(node1);
  // Nobody answers names there, and there is little room for layers while pods are asked for.
  await sh(node1, 'cp /etc/resolv.conf /run/resolv.conf; echo "nameserver 127.0.0.1" >/etc/resolv.conf');
  await sh(node1, 'mount -t tmpfs -o size=1m none /var/lib/tkadm/images/tmp');
  await apply(
    cp,
    Object.entries(POD_FAULTS)
      .map(
        ([name, { spec }]) =>
          `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: {is: faulty}}\nspec:\n  ${spec}\n`,
      )
      .concat(wellPod('cp'), wellPod('node1'))
      .join('---\n'),
  );

  await t.test('names what keeps a pod from working', async (t) => {
    const firstOf = (findings: readonly Finding[], name: string) =>
      findings.find(({ subject }) => subject === `pod/default/${name}`);
    const found = await eventually(
      'the cause of every pod',
      90_000,
      async () => {
        const { findings } = await ask(cp);
        return Object.keys(POD_FAULTS).every((name) => firstOf(findings, name)?.name === name) && findings;
      },
      async () => JSON.stringify((await ask(cp)).findings, undefined, 1),
    );
    for (const [name, { cause, fix }] of Object.entries(POD_FAULTS)) {
      t.match(firstOf(found, name)?.cause, cause, name);
      t.match(firstOf(found, name)?.fix, fix, name);
    }
    const { findings } = await ask(cp, ['pod/default/container-crashing']);
    t.match(findings[0]?.evidence.join('\n'), /no database here/, 'its last words are quoted');
  });
  await sh(node1, 'umount -l /var/lib/tkadm/images/tmp; cat /run/resolv.conf >/etc/resolv.conf');
  await kubectlText(cp, ['delete', 'pods', '-l', 'is=faulty', '--grace-period=0', '--force', '--wait=false']);

  // A container that crashes is started again after some ten seconds: meanwhile the worker is looked at.
  const manifest = '/etc/kubernetes/manifests/kube-controller-manager.yaml';
  await sh(
    cp,
    `cp ${manifest} /run/kept && sed -i 's/- kube-controller-manager$/&\\n        - --nonsense=1/' ${manifest} && grep -q nonsense ${manifest}`,
  );

  const patch = '[{"op":"add","path":"/spec/containers/0/command/-","value":"--nonsense=1"}]';
  await sh(idle, `mkdir /run/patches && echo '${patch}' >/run/patches/kube-scheduler+json.json`);
  const crashing = tkadm(idle, ['init', '--fix', '--patches', '/run/patches', '-o', 'json']);

  for (const fault of WORKER_FAULTS) {
    await t.test(`names ${fault.row}`, async (t) => {
      const place = fault.isOfServer ? cp : node1;
      await sh(place, fault.inject);
      try {
        const look = () => (fault.isRemote ? ask(cp, ['node/node1']) : ask(node1));
        // Of a pod that was made just now nothing is said yet.
        const { findings, exitCode } = fault.isOfPod
          ? await eventually('a cause', 30_000, async () => {
              const found = await look();
              return found.findings.length > 0 && found;
            })
          : await look();
        const finding = fault.isSecond ? findings.find(({ name }) => name === fault.row) : findings[0];
        t.match(finding, { name: fault.row, subject: 'node/node1' }, JSON.stringify(findings));
        t.match(finding?.cause, fault.cause);
        t.match(finding?.fix, fault.fix);
        if (fault.also) t.match(findings[1]?.cause, fault.also);
        t.equal(exitCode, 7);
      } finally {
        await sh(place, fault.undo);
      }
    });
  }

  for (const { row, inject, undo, cause, fix, needs } of PRIVATE_FAULTS) {
    const missing = needs.find((path) => !existsSync(path));
    const skip = missing === undefined ? false : `needs "${missing}"`;
    await t.test(`names ${row}`, { skip }, async (t) => {
      try {
        const { findings } = await askBehind(node1, inject);
        t.match(findings[0], { name: row, subject: 'node/node1', cause, fix }, JSON.stringify(findings));
      } finally {
        await sh(node1, undo);
      }
    });
  }

  await t.test('names a way that takes no packet as large as those of pods', async (t) => {
    const port = `p${cp.address.split('.').at(-1)}`;
    const setMtu = (bytes: number) => lab.spawn(['ip', 'link', 'set', port, 'mtu', `${bytes}`]);
    t.equal((await setMtu(1400)).exitCode, 0);
    const { findings } = await ask(node1, ['--no-ssh']);
    t.equal((await setMtu(1500)).exitCode, 0);
    t.match(findings[0], {
      name: 'large-packets-lost',
      cause: /large packets from node1 to cp are lost/,
      fix: /ip link set eth0 mtu 1400/,
      evidence: [/packet of 1500 bytes to [\d.]+: no answer; of 1400: answered/],
    });
  });

  await t.test('names certificates that do not fit', async (t) => {
    const path = '/var/lib/kubelet/pki/kubelet-client-current.pem';
    const [certPem, keyPem] = [
      await sh(cp, 'cat /etc/kubernetes/pki/ca.crt'),
      await sh(cp, 'cat /etc/kubernetes/pki/ca.key'),
    ];
    const issue = (commonName: string, ca: { certPem: string; keyPem: string }) =>
      issueCertificate({
        spec: { commonName, organizations: ['system:nodes'], usages: ['client auth'] },
        ca,
        algorithm: 'ECDSA-P256',
        notBefore: new Date(Date.now() - 7200_000),
        notAfter: new Date(Date.now() - 3600_000),
      });
    const expired = await issue('system:node:node1', { certPem, keyPem });
    const write = async (file: string, text: string) => {
      await node1.exec(
        ['sh', '-ec', `cp -pL ${file} /run/kept && cat >${file}.new && mv ${file}.new ${file}`],
        { input: text },
      );
    };
    const link = (await sh(node1, `readlink ${path}`)).trim();
    await write(path, `${expired.certPem}${expired.keyPem}`);
    const found = await ask(node1);
    await sh(node1, `ln -sf ${link} ${path}`);
    t.match(found.findings[0], {
      name: 'node-certificate-expired',
      fix: /tkadm reset -f; then join it again/,
    });
    const ca = '/etc/kubernetes/pki/ca.crt';
    await write(ca, await sh(cp, 'cat /etc/kubernetes/pki/front-proxy-ca.crt'));
    const other = await ask(node1);
    await sh(node1, `mv /run/kept ${ca}`);
    t.match(other.findings[0], { name: 'certificate-authority-wrong', fix: /put the cluster's own CA back/ });
  });

  await t.test('names a component that crashes, and one that stands still', async (t) => {
    const finding = await eventually(
      'three starts of the controller manager',
      90_000,
      async () => {
        const { findings } = await ask(cp, ['node/cp']);
        return findings[0]?.name === 'flag-wrong' && findings[0];
      },
      async () => JSON.stringify(await ask(cp, ['node/cp']), undefined, 1),
    );
    t.match(finding.cause, /kube-controller-manager ends again and again on cp/);
    t.match(finding.evidence.join('\n'), /nonsense/);
    await sh(cp, `mv /run/kept ${manifest}`);
    await healthy(cp, ['node/cp']);
    const [pid] = await findPids(cp, componentPattern('kube-scheduler'));
    await sh(cp, `kill -STOP ${pid}`);
    const stopped = await ask(cp);
    await sh(cp, `kill -CONT ${pid}`);
    t.match(stopped.findings[0], {
      name: 'component-down',
      cause: /kube-scheduler does not .* no new pod is given a node/,
    });
  });

  await t.test('names a DNS that is scaled to 0', async (t) => {
    await kubectlText(cp, ['-n', 'kube-system', 'scale', 'deployment', 'coredns', '--replicas=0']);
    const finding = await eventually('the cause', 60_000, async () =>
      (await ask(cp)).findings.find(({ name }) => name === 'dns-down'),
    );
    t.match(finding.fix, /scale deployment coredns --replicas=1/);
  });

  await t.test('init ends when a component crashes, and says why', async (t) => {
    const result = await crashing;
    t.equal(result.exitCode, 7, result.all);
    const error = JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '');
    t.match(error, {
      code: 'CONTAINER_CRASHES',
      message:
        /kube-scheduler: its container ended again and again[\s\S]*most likely: kube-scheduler ends again and again/,
      hint: /mend the arguments/,
      details: { findings: [{ name: 'flag-wrong' }] },
    });
  });

  await t.test('names a broken manifest, and an API server that is away', async (t) => {
    const path = '/etc/kubernetes/manifests/kube-apiserver.yaml';
    await sh(cp, `echo 'kind: [Pod' >${path}`);
    const broken = await ask(cp);
    t.match(broken.findings[0], {
      name: 'manifest-broken',
      cause: /kube-apiserver cannot run on cp/,
      fix: /tkadm init phase control-plane apiserver/,
    });
    await sh(cp, `rm ${path}`);
    await eventually(
      'the end of the API server',
      60_000,
      async () => (await kubectl(cp, ['get', '--raw', '/version'])).exitCode !== 0,
    );
    const away = await ask(cp);
    t.match(away.findings[0], { name: 'manifest-broken', evidence: [/is not there/] });
    const worker = await ask(node1);
    t.match(worker.findings[0], { name: 'api-refused', fix: /on the control plane: tkadm why/ });
    const down = await tkadm(cp, ['status', '-o', 'json']);
    t.equal(down.exitCode, 7);
    t.match(JSON.parse(down.stdout), { ok: false, api: /Cannot reach API server/ });
  });
});
