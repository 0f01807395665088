import t from 'tap';
import type { Evidence } from '../../../bootstrap/diagnose/evidence.ts';
import { isFaulty, rankCauses } from '../../../bootstrap/diagnose/rank.ts';
import { DIAGNOSES } from '../../../bootstrap/diagnose/table.ts';
import {
  ago,
  CLUSTER,
  clusterWith,
  EVIDENCE,
  endedWith,
  LOST_PATH,
  MACHINE,
  machineWith,
  NODE,
  nodeWith,
  podWith,
  probe,
  probesWith,
  WORKER,
  waiting,
  wayWith,
} from './fixture.ts';

const [DISK] = MACHINE.disks;
const problems = (name: string, kind: string) => ({
  certificates: [
    { name, path: `/etc/kubernetes/pki/${name}.crt`, problems: [{ kind, message: `it is ${kind}` }] },
  ],
});
const crashing = (line: string): Evidence =>
  machineWith({
    staticPods: [{ component: 'kube-apiserver', recentStarts: 4, log: ['starting', line] }],
    probes: probesWith('kube-apiserver', { outcome: 'refused', said: 'ECONNREFUSED' }),
  });
const pulling = (message: string) =>
  podWith({
    container: waiting('ImagePullBackOff', 'Back-off pulling image'),
    warning: ['Failed', `Failed to pull image "shop/web:1": ${message}`],
  });
const request = (patch: object) => ({
  metadata: { name: 'csr-1', creationTimestamp: ago(60) },
  spec: {
    request: '',
    signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
    username: 'system:bootstrap:abcdef',
  },
  ...patch,
});
const refused = (code: string): Evidence =>
  clusterWith({ nodes: [], problem: { code, message: `Cannot reach API server: ${code}` } });

const drops = (hook: string, text: string) => ({ hook, chain: `inet fw ${hook}`, text });

/** Evidence of each cause, and what the words must name. */
const CASES: Readonly<Record<string, readonly [evidence: Evidence, cause: RegExp, fix: RegExp]>> = {
  'no-cluster': [
    { ...machineWith({ role: 'none' }), cluster: undefined },
    /"cp" has no cluster/,
    /tkadm init/,
  ],
  'file-system-read-only': [
    machineWith({ disks: [{ ...DISK!, isReadOnly: true }] }),
    /read-only/,
    /remount,rw/,
  ],
  'disk-full': [machineWith({ disks: [{ ...DISK!, freeBytes: 1024 }] }), /no space is left/, /image prune/],
  'inodes-used-up': [machineWith({ disks: [{ ...DISK!, freeInodes: 0 }] }), /inodes/, /du --inodes/],
  'bundle-damaged': [machineWith({ bundleProblem: '"x" is empty' }), /damaged/, /tkadm init/],
  'cgroup-controllers-missing': [machineWith({ missingControllers: ['memory'] }), /cgroup/, /cgroup_enable/],
  'runtime-stopped': [
    machineWith({ services: [{ ...MACHINE.services[0]!, isKept: false, pid: undefined }] }),
    /tkadm-runtime does not run/,
    /tkadm service start/,
  ],
  'agent-stopped': [
    machineWith({ services: [{ ...MACHINE.services[1]!, isKept: false, pid: undefined }] }),
    /tkadm-agent does not run/,
    /tkadm service start/,
  ],
  'service-crashing': [
    machineWith({ services: [{ ...MACHINE.services[1]!, pid: undefined, log: ['bad config'] }] }),
    /tkadm-agent ends as soon/,
    /log/,
  ],
  'ip-forward-off': [machineWith({ kernel: { isForwarding: false } }), /forwards no packets/, /sysctl -w/],
  'conntrack-full': [
    machineWith({ kernel: { conntrack: { count: 999, max: 1_000 } } }),
    /connection table/,
    /nf_conntrack_max=2000/,
  ],
  'memory-scarce': [
    machineWith({ memory: { totalBytes: 1_000, availableBytes: 10 } }),
    /hardly any memory/,
    /limits/,
  ],
  'disk-slow': [machineWith({ syncMs: 2_500 }), /slow/, /faster disk/],
  'swap-on': [machineWith({ swaps: ['/dev/sda2'] }), /swaps/, /swapoff -a/],
  'clock-wrong': [
    machineWith({ probes: [probe('kube-apiserver', { skewMs: -7_200_000 })] }),
    /7200 s behind/,
    /timedatectl/,
  ],
  'node-certificate-expired': [machineWith(problems('node', 'expired')), /not let in/, /kubeconfig kubelet/],
  'certificate-expired': [
    machineWith(problems('apiserver', 'expired')),
    /"apiserver"/,
    /certs renew apiserver/,
  ],
  'certificate-authority-wrong': [machineWith(problems('trust', 'other-ca')), /CA/, /join again/],
  'certificate-damaged': [
    machineWith(problems('apiserver', 'damaged')),
    /damaged/,
    /init phase certs apiserver/,
  ],
  'server-distrusted': [
    machineWith({ probes: [probe('kube-apiserver', { distrust: 'ERR_TLS_CERT_ALTNAME_INVALID' })] }),
    /not for the address/,
    /certSANs/,
  ],
  'manifest-broken': [
    machineWith({
      staticPods: [
        { component: 'kube-scheduler', recentStarts: 0, log: [], manifestProblem: 'it is no YAML' },
      ],
    }),
    /kube-scheduler cannot run/,
    /init phase control-plane scheduler/,
  ],
  'port-taken': [
    machineWith({ takenPorts: [{ port: 6443, holder: 'pid 9 (nginx)' }] }),
    /6443.*nginx/,
    /ss -ltnp/,
  ],
  'port-in-use': [crashing('listen EADDRINUSE: address already in use :::6443'), /port is taken/, /ss -ltnp/],
  'store-full': [crashing('STORE_FULL: Cannot write'), /the store is full/, /make room/],
  'store-corrupt': [crashing('STORE_CORRUPT: Cannot open'), /the store is damaged/, /copy/],
  'store-locked': [crashing('STORE_LOCKED: Cannot open'), /another process/, /fuser/],
  'flag-wrong': [
    crashing('Cannot use flag "--x=1": this component does not support it'),
    /argument/,
    /extraArgs/,
  ],
  'component-crashing': [crashing('it went wrong'), /kube-apiserver ends again and again/, /log/],
  'component-down': [
    machineWith({ probes: probesWith('kube-scheduler', { outcome: 'refused', said: 'ECONNREFUSED' }) }),
    /kube-scheduler does not run.*no new pod is given a node/,
    /tail/,
  ],
  'component-unhealthy': [
    machineWith({ probes: probesWith('kube-scheduler', { said: 'HTTP 500' }) }),
    /kube-scheduler of cp says/,
    /curl -k/,
  ],
  'api-blocked': [
    machineWith({
      probes: probesWith('kube-apiserver', { outcome: 'silent', said: 'no answer within 1 ms' }),
      dropRules: [drops('output', 'tcp dport 6443 drop')],
    }),
    /port 6443/,
    /accept TCP port 6443/,
  ],
  'api-silent': [
    machineWith({
      probes: probesWith('kube-apiserver', { outcome: 'silent', said: 'no answer within 1 ms' }),
    }),
    /is lost/,
    /tkadm why/,
  ],
  'api-address-unknown': [
    machineWith({ probes: probesWith('kube-apiserver', { outcome: 'unknown-name', said: 'ENOTFOUND' }) }),
    /no address/,
    /\/etc\/hosts/,
  ],
  'api-refused': [
    machineWith({
      role: 'worker',
      probes: probesWith('kube-apiserver', { outcome: 'refused', said: 'ECONNREFUSED' }),
    }),
    /nothing listens/,
    /on the control plane/,
  ],
  'agent-port-blocked': [
    {
      ...machineWith({ dropRules: [drops('input', 'tcp dport 10250 drop')] }),
      cluster: { ...CLUSTER, agentProbes: [{ ...probe('cp', { outcome: 'silent' }), nodeName: 'cp' }] },
    },
    /comes to its agent/,
    /10250/,
  ],
  'cni-missing': [machineWith({ cni: [] }), /no CNI configuration/, /service start/],
  'cni-broken': [
    machineWith({ cni: [{ path: '/x.conflist', problem: 'it is no JSON' }] }),
    /cannot be used/,
    /x\.conflist/,
  ],
  'proxy-rules-missing': [machineWith({ nftTables: [] }), /Services are not reached/, /delete pod/],
  'mtu-wrong': [
    machineWith({ links: [{ ...MACHINE.links[0]!, mtu: 1400 }, MACHINE.links[1]!] }),
    /large packets/,
    /mtu 1400/,
  ],
  'node-address-lost': [
    machineWith({ links: [{ name: 'eth0', mtu: 1500, addresses: ['10.0.0.9'] }] }),
    /10\.0\.0\.1/,
    /--node-ip/,
  ],
  'no-name-server': [machineWith({ nameServers: [] }), /no name server/, /resolv\.conf/],
  'kubeconfig-unusable': [refused('KUBECONFIG_INVALID'), /not usable/, /sudo tkadm why/],
  'api-denied': [refused('Unauthorized'), /does not accept/, /certs renew admin\.conf/],
  'api-unreachable': [refused('API_UNREACHABLE'), /cannot be asked/, /on the control plane/],
  'dns-down': [
    clusterWith({ deployments: [{ metadata: { name: 'coredns' }, spec: { replicas: 0 } as never }] }),
    /scaled to 0/,
    /--replicas=1/,
  ],
  'request-not-approved': [
    clusterWith({ requests: [request({})] }),
    /not approved/,
    /certificate approve csr-1/,
  ],
  'request-not-signed': [
    clusterWith({ requests: [request({ status: { conditions: [{ type: 'Approved', status: 'True' }] } })] }),
    /nobody in the cluster signs/,
    /get csr csr-1/,
  ],
  'node-silent': [
    {
      ...nodeWith('Ready', 'Unknown', 'Kubelet stopped posting node status.'),
      cluster: {
        ...nodeWith('Ready', 'Unknown', 'Kubelet stopped posting node status.').cluster!,
        leases: [{ metadata: { name: 'cp' }, spec: { renewTime: ago(300) } }],
      },
    },
    /cp does not report/,
    /on cp: tkadm why/,
  ],
  'pod-range-missing': [
    clusterWith({
      nodes: [
        { ...NODE, spec: {}, status: { ...NODE.status, conditions: [{ type: 'Ready', status: 'False' }] } },
      ],
    }),
    /waits for its range/,
    /kube-controller-manager/,
  ],
  'node-network-not-ready': [
    nodeWith('Ready', 'False', 'network plugin is not ready'),
    /not ready/,
    /tkadm why/,
  ],
  'pod-route-missing': [wayWith({ hasRoute: false }), /node1 has no route/, /via 10\.0\.0\.1 proto 116/],
  'pod-path-blocked': [
    wayWith({ pods: LOST_PATH }, {}, { dropRules: [drops('forward', 'policy drop')] }),
    /rule of node1 drops what goes between pods/,
    /accept what is forwarded/,
  ],
  'pods-unreached': [wayWith({ pods: LOST_PATH }), /pods of cp are not reached from node1/, /tkadm why/],
  'large-packets-lost': [
    wayWith({ packets: { fullBytes: 1500, isAnswered: false, passingBytes: 1400 } }),
    /large packets from node1 to cp/,
    /mtu 1400/,
  ],
  'node-under-pressure': [
    nodeWith('DiskPressure', 'True', 'kubelet has disk pressure'),
    /DiskPressure/,
    /make room/,
  ],
  'agent-port-closed': [
    clusterWith({ agentProbes: [{ ...probe('cp', { outcome: 'silent' }), nodeName: 'cp' }] }),
    /kubectl logs/,
    /10250/,
  ],
  'node-unregistered': [
    clusterWith({ nodes: [{ ...NODE, metadata: { name: 'other' } }] }),
    /cp has no Node/,
    /registers it anew/,
  ],
  'node-address-shared': [
    clusterWith({ nodes: [NODE, { ...NODE, metadata: { name: 'old' } }] }),
    /cp and old tell the same address/,
    /kubectl delete node/,
  ],
  'node-cordoned': [
    clusterWith({ nodes: [{ ...NODE, spec: { unschedulable: true } }] }),
    /cordoned/,
    /uncordon cp/,
  ],
  'claim-missing': [
    podWith({ unschedulable: 'persistentvolumeclaim "x" not found' }),
    /PersistentVolumeClaim/,
    /get pvc/,
  ],
  'resources-short': [podWith({ unschedulable: '0/1 nodes: 1 Insufficient memory.' }), /requests/, /lower/],
  'taint-not-tolerated': [
    podWith({ unschedulable: '1 node(s) had untolerated taint(s).' }),
    /taint/,
    /tolerations/,
  ],
  'selector-without-node': [
    podWith({ unschedulable: "1 node(s) didn't match Pod's node affinity/selector." }),
    /labels/,
    /label node/,
  ],
  'host-port-taken': [
    podWith({ unschedulable: "1 node(s) didn't have free ports" }),
    /host port/,
    /hostPort/,
  ],
  unschedulable: [
    podWith({ unschedulable: 'for some reason' }),
    /no node fits/,
    /describe pod -n default web/,
  ],
  'not-scheduled': [podWith({ spec: { nodeName: '' } }), /was not looked at/, /kube-scheduler/],
  'pod-not-ending': [
    podWith({ metadata: { deletionTimestamp: ago(600), finalizers: ['a/b'] } }),
    /finalizers/,
    /kubectl patch pod/,
  ],
  'image-name-invalid': [pulling('Cannot use image name "shop"'), /not of the form/, /correct/],
  'image-never-pulled': [
    podWith({ container: waiting('ErrImageNeverPull', 'not present') }),
    /Never/,
    /image load/,
  ],
  'registry-unknown': [
    pulling('Cannot reach registry "r": getaddrinfo ENOTFOUND r'),
    /not resolved/,
    /resolv\.conf/,
  ],
  'registry-unreachable': [pulling('Cannot reach registry "r": ECONNREFUSED'), /not reached/, /image load/],
  'registry-denied': [pulling('the registry answers HTTP 401'), /credentials/, /docker-registry/],
  'image-not-found': [pulling('manifest unknown'), /no such image or tag/, /correct the image's name or tag/],
  'image-disk-full': [
    pulling('Cannot add layer "sha256:0": cannot unpack "a": the disk has only 4096 bytes left'),
    /no room for its layers/,
    /image prune/,
  ],
  'image-platform-wrong': [
    pulling('Cannot use image "shop/web:1": it is not for linux/amd64, only for linux/s390x'),
    /not made for the node's architecture/,
    /kubernetes\.io\/arch/,
  ],
  'image-damaged': [
    pulling('Cannot store content "sha256:0": its digest is sha256:1'),
    /what its registry sends is damaged/,
    /push the image again/,
  ],
  'image-pull-failed': [pulling('layer digest differs'), /the pull fails/, /image pull/],
  'object-missing': [
    podWith({ container: waiting('CreateContainerConfigError', 'secret "db" not found') }),
    /Secret "db"/,
    /create secret generic db/,
  ],
  'key-missing': [
    podWith({
      container: waiting('CreateContainerConfigError', "couldn't find key x in ConfigMap default/c"),
    }),
    /lacks a key/,
    /add the key/,
  ],
  'volume-failing': [
    podWith({ warning: ['FailedMount', 'hostPath type check failed'] }),
    /volume/,
    /describe pod/,
  ],
  'sandbox-failing': [
    podWith({ warning: ['FailedCreatePodSandBox', 'no address left'] }),
    /sandbox/,
    /why node\/cp/,
  ],
  'out-of-memory': [
    podWith({ container: endedWith(137, 'OOMKilled') }),
    /more memory than its limit/,
    /raise/,
  ],
  'command-not-found': [
    podWith({ container: endedWith(128, 'StartError', 'exec: "/x": no such file or directory') }),
    /cannot be started/,
    /command and args/,
  ],
  'liveness-failing': [
    podWith({ container: endedWith(137, 'Error'), warning: ['Unhealthy', 'Liveness probe failed: 404'] }),
    /liveness probe/,
    /timeoutSeconds/,
  ],
  'container-crashing': [podWith({ container: endedWith(3, 'Error') }), /exit code 3/, /--previous/],
  'readiness-failing': [
    podWith({ container: { state: { running: {} } }, warning: ['Unhealthy', 'Readiness probe failed: 503'] }),
    /readiness probe fails/,
    /kubectl logs -n default web -c a/,
  ],
  'pod-refused': [
    podWith({ status: { phase: 'Failed', reason: 'Evicted', message: 'low on disk' } }),
    /Evicted/,
    /delete pod/,
  ],
  'pod-not-ready': [
    podWith({ container: waiting('CreateContainerError', 'no such device') }),
    /cannot be made/,
    /describe/,
  ],
};

t.test('DIAGNOSES has each name once, words for the docs, and a case here for every row', async (t) => {
  const names = DIAGNOSES.map(({ name }) => name);
  t.equal(new Set(names).size, names.length);
  t.same(Object.keys(CASES).sort(), [...names].sort());
  for (const { name, summary } of DIAGNOSES) {
    t.match(name, /^[a-z]+(-[a-z]+)*$/);
    t.match(summary, /^.+[^.]$/, name);
  }
});

t.test('rankCauses() finds nothing in a cluster that is well', async (t) => {
  t.same(rankCauses(DIAGNOSES, EVIDENCE), []);
});

for (const [name, [evidence, cause, fix]] of Object.entries(CASES)) {
  t.test(`rankCauses() finds ${name}`, async (t) => {
    const findings = rankCauses(DIAGNOSES, evidence);
    const finding = findings.find((row) => row.name === name);
    t.match(finding?.cause, cause, JSON.stringify(findings));
    t.match(finding?.fix, fix);
    t.notMatch(finding?.cause, /undefined|\.$/);
    t.ok(finding?.evidence.length, 'it says what was seen');
    t.notMatch(finding?.evidence.join('\n'), /undefined/);
    const others = findings.filter((row) => row.name !== name).map((row) => row.name);
    t.same(others, [], 'nothing else is found');
    t.equal(isFaulty(findings), finding?.confidence !== 'possible');
  });
}

t.test('rankCauses() leaves DNS and proxy the time to start, unless they fail', async (t) => {
  const find = (age: number, restartCount: number) => {
    const status = { name: 'a', image: '', imageID: '', ready: false, restartCount, state: { running: {} } };
    const [dns, proxy] = ['kube-dns', 'kube-proxy'].map((name) => ({
      metadata: {
        name,
        namespace: 'kube-system',
        labels: { 'k8s-app': name },
        creationTimestamp: ago(age),
      },
      spec: { nodeName: 'cp', containers: [] },
      status: { conditions: [{ type: 'Ready', status: 'True' }], containerStatuses: [status] },
    }));
    const { cluster } = clusterWith({
      pods: [dns!, proxy!],
      deployments: [{ metadata: { name: 'coredns' }, spec: { replicas: 1 } as never }],
    });
    const evidence = { ...EVIDENCE, cluster, machines: [{ ...MACHINE, nftTables: [] }] };
    return rankCauses(DIAGNOSES, evidence).map(({ name }) => name);
  };
  t.same(find(3, 0), []);
  t.same(find(60, 0), ['dns-down', 'proxy-rules-missing'], 'they have had it');
  t.same(find(3, 1), ['dns-down', 'proxy-rules-missing'], 'they were started again');
});

t.test('rows name as closer ones only rows that there are', async (t) => {
  const names = DIAGNOSES.map(({ name }) => name);
  for (const { name, unless = [] } of DIAGNOSES)
    t.same(
      unless.filter((other) => !names.includes(other)),
      [],
      name,
    );
});

t.test('rankCauses() leaves out what another cause tells closer, of the same subject alone', async (t) => {
  const stopped = {
    ...MACHINE,
    services: MACHINE.services.map((row) => ({ ...row, isKept: false, pid: undefined })),
  };
  const find = (nodeName: string, name: string) => {
    const { cluster } = clusterWith({
      agentProbes: [{ ...probe('agent', { outcome: 'silent' }), nodeName }],
      nodes: [{ ...NODE, metadata: { name: nodeName } }],
    });
    return rankCauses(DIAGNOSES, { ...EVIDENCE, cluster, machines: [stopped] }).some(
      (row) => row.name === name,
    );
  };
  t.equal(find('cp', 'agent-port-closed'), false, 'its agent is stopped');
  t.equal(find('other', 'agent-port-closed'), true, 'the agent of another machine is');
});

t.test('rankCauses() tells the certain before the likely, and what others stand on first', async (t) => {
  const machine = {
    ...MACHINE,
    services: MACHINE.services.map((row) => ({ ...row, isKept: false, pid: undefined })),
    probes: probesWith('kube-scheduler', { outcome: 'refused', said: 'ECONNREFUSED' }),
    syncMs: 5_000,
    cni: [],
  };
  const findings = rankCauses(DIAGNOSES, { ...EVIDENCE, machines: [machine] });
  t.same(
    findings.map(({ name }) => name),
    ['runtime-stopped', 'agent-stopped', 'cni-missing', 'component-down', 'disk-slow'],
  );
  t.match(findings[0], { subject: 'node/cp', confidence: 'certain' });
});

t.test('rankCauses() names the end at which a firewall drops, and the direction', async (t) => {
  const silent = { outcome: 'silent', said: 'no answer within 1 ms' } as const;
  const first = (from: object, to: object, outcome: 'silent' | 'refused' = 'silent') => {
    const worker = { ...WORKER, probes: [probe('kube-apiserver', { ...silent, outcome })], ...from };
    const evidence = { ...EVIDENCE, machines: [worker], witnesses: [{ ...MACHINE, ...to }, worker] };
    const { nodes } = clusterWith({}).cluster!;
    const cluster = { ...CLUSTER, nodes: [...nodes, { ...NODE, metadata: { name: 'node1' } }] };
    return rankCauses(DIAGNOSES, { ...evidence, cluster }).find(({ name }) => /^api-/.test(name));
  };
  const rules = (hook: string, text: string) => ({ dropRules: [drops(hook, text)] });
  const other = rules('input', 'tcp dport 22 drop');
  const cases = [
    [{}, rules('input', 'tcp dport 6443 drop'), 'api-blocked', /of cp drops what comes from node1/],
    [{}, rules('input', 'ip saddr 10.0.0.2 drop'), 'api-blocked', /of cp drops/],
    [{}, rules('input', 'tcp dport 6000-7000 drop'), 'api-blocked', /of cp drops/],
    [{}, rules('', '-A f2b -p tcp -m tcp --dport 6440:6450 -j DROP'), 'api-blocked', /of cp drops/],
    [rules('output', 'tcp dport 6443 drop'), {}, 'api-blocked', /of node1 drops what goes/],
    [rules('input', 'tcp sport 6443 drop'), {}, 'api-blocked', /of node1 drops/],
    [{}, rules('input', 'policy drop'), 'api-silent', /cp drops what no rule accepts/],
    [{}, other, 'api-silent', /is lost: a firewall on the way/],
    [{}, rules('forward', 'tcp dport 6443 drop'), 'api-silent', /a firewall on the way/],
  ] as const;
  for (const [from, to, name, cause] of cases) {
    t.match(first(from, to), { name, cause }, `${JSON.stringify([from, to])}`);
  }
  const rejects = rules('input', 'tcp dport 6443 reject');
  t.match(first({}, rejects, 'refused'), { name: 'api-blocked' });
  t.match(first({}, rules('input', 'tcp dport 6443 drop'), 'refused'), { name: 'api-refused' });
});

t.test('rankCauses() does not tell of a step that a pod has passed since', async (t) => {
  const find = (container: ReturnType<typeof waiting>, later: string | undefined) => {
    const evidence = podWith({ container, warning: ['FailedCreatePodSandBox', 'no address left'] });
    const { events = [], ...cluster } = evidence.cluster ?? CLUSTER;
    const after = later ? [{ ...events[0]!, reason: later, message: 'later', lastTimestamp: ago(0) }] : [];
    const findings = rankCauses(DIAGNOSES, {
      ...evidence,
      cluster: { ...cluster, events: [...events, ...after] },
    });
    return findings.map(({ name }) => name);
  };
  t.same(find(waiting('ContainerCreating'), undefined), ['sandbox-failing']);
  t.same(find(waiting('ContainerCreating'), 'FailedMount'), ['volume-failing']);
  t.same(find(waiting('CreateContainerError', 'no such device'), undefined), ['pod-not-ready']);
  t.same(find(waiting('ImagePullBackOff', 'Back-off pulling'), undefined), ['image-pull-failed']);
});
