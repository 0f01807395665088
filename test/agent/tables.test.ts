import { createPublicKey, X509Certificate } from 'node:crypto';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { parseCertificateRequest } from '../../pki/csr.ts';
import { admitPod } from '../../runtime/agent/admission.ts';
import { Backoff } from '../../runtime/agent/backoff.ts';
import { formatDelay } from '../../runtime/agent/container-starter.ts';
import { buildDnsSettings, parseResolvConf } from '../../runtime/agent/dns.ts';
import { buildServiceVariables, expandVariables } from '../../runtime/agent/environment.ts';
import { matchCredentials } from '../../runtime/agent/image-credentials.ts';
import { parseKubeletConfig } from '../../runtime/agent/kubelet-config.ts';
import { computeOomScoreAdj, toShares } from '../../runtime/agent/linux-resources.ts';
import { parseLabels, parseTaints } from '../../runtime/agent/node/registration.ts';
import { buildNodeRoutes } from '../../runtime/agent/node/routes.ts';
import { type AgentPod, computeQosClass, podCgroup } from '../../runtime/agent/pod.ts';
import { computePodActions } from '../../runtime/agent/pod-actions.ts';
import { defaultPullPolicy } from '../../runtime/agent/pod-defaults.ts';
import { computePhase } from '../../runtime/agent/pod-status.ts';
import type { ContainerState, PodState } from '../../runtime/agent/runtime-state.ts';
import { subresourcesOf } from '../../runtime/agent/server/authorize.ts';
import { parseStreamPath } from '../../runtime/agent/server/streaming.ts';
import { parseStaticPod } from '../../runtime/agent/static-pod-file.ts';
import { buildStatusPatch } from '../../runtime/agent/status-writer.ts';
import {
  addressBytes,
  buildCertificateRequest,
  buildSelfSignedCertificate,
  generateKeyPem,
} from '../../runtime/agent/tls/x509.ts';
import { parseLogLine } from '../../runtime/container/cri-log.ts';

function pod(spec: Partial<core.PodSpec> = {}): AgentPod {
  return {
    metadata: { name: 'p', namespace: 'ns', uid: 'u' },
    spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
  };
}

t.test('Backoff waits 0, 10, 20 ... s and forgets after 10 minutes', (t) => {
  let now = 0;
  const backoff = new Backoff(10_000, 300_000, () => now);
  const delays: number[] = [];
  for (let i = 0; i < 8; i += 1) {
    const crashedAt = now;
    const waitMs = backoff.remainingMs('k', crashedAt);
    delays.push(waitMs);
    now += waitMs;
    backoff.next('k', crashedAt);
  }
  t.same(delays, [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
  now += 700_000;
  t.equal(backoff.remainingMs('k', now), 0);
  t.end();
});

t.test('expandVariables() follows the rules of $(NAME)', (t) => {
  const lookup = (name: string) => ({ A: 'a', EMPTY: '' })[name];
  const rows = [
    ['$(A)', 'a'],
    ['$$(A)', '$(A)'],
    ['$(NONE)', '$(NONE)'],
    ['x$(A)y$(EMPTY)z', 'xayz'],
    ['$(A', '$(A'],
    ['$A', '$A'],
    ['100$', '100$'],
  ] as const;
  for (const [text, value] of rows) t.equal(expandVariables(text, lookup), value, text);
  t.end();
});

t.test('buildServiceVariables() gives docker-link variables', (t) => {
  const service = (namespace: string, name: string, clusterIP = '10.0.0.1'): core.Service => ({
    metadata: { namespace, name },
    spec: { clusterIP, ports: [{ name: 'https', port: 443, protocol: 'TCP' }] },
  });
  const services = [
    service('default', 'kubernetes'),
    service('ns', 'my-db', '10.0.0.2'),
    service('ns', 'x', 'None'),
  ];
  const all = buildServiceVariables(services, { namespace: 'ns', enableServiceLinks: true });
  t.equal(all.get('KUBERNETES_SERVICE_HOST'), '10.0.0.1');
  t.equal(all.get('KUBERNETES_SERVICE_PORT_HTTPS'), '443');
  t.equal(all.get('MY_DB_PORT_443_TCP'), 'tcp://10.0.0.2:443');
  t.equal(all.has('X_SERVICE_HOST'), false);
  const few = buildServiceVariables(services, { namespace: 'ns', enableServiceLinks: false });
  t.same([few.has('KUBERNETES_SERVICE_HOST'), few.has('MY_DB_SERVICE_HOST')], [true, false]);
  t.end();
});

t.test('buildDnsSettings() follows dnsPolicy and dnsConfig', (t) => {
  const host = parseResolvConf('# x\nnameserver 1.1.1.1\nsearch corp.example.\noptions ndots:1\n');
  const context = { clusterDns: ['10.96.0.10'], clusterDomain: 'cluster.local', host };
  t.same(buildDnsSettings(pod(), context), {
    servers: ['10.96.0.10'],
    searches: ['ns.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp.example'],
    options: ['ndots:5'],
  });
  t.same(buildDnsSettings(pod({ hostNetwork: true }), context), host);
  t.same(buildDnsSettings(pod({ dnsPolicy: 'Default' }), context), host);
  const dnsConfig = { nameservers: ['9.9.9.9'], options: [{ name: 'ndots', value: '2' }] };
  t.same(buildDnsSettings(pod({ dnsPolicy: 'None', dnsConfig }), context), {
    servers: ['9.9.9.9'],
    searches: [],
    options: ['ndots:2'],
  });
  t.end();
});

t.test('computeQosClass() and podCgroup()', (t) => {
  const with_ = (resources: core.ResourceRequirements) => pod({ containers: [{ name: 'c', resources }] });
  const full = { cpu: '1', memory: '1Gi' };
  const rows = [
    [with_({}), 'BestEffort', '/kubepods/besteffort/podu'],
    [with_({ requests: { cpu: '1' } }), 'Burstable', '/kubepods/burstable/podu'],
    [with_({ requests: full, limits: full }), 'Guaranteed', '/kubepods/podu'],
    [with_({ limits: full }), 'Guaranteed', '/kubepods/podu'],
  ] as const;
  for (const [value, qos, path] of rows) t.same([computeQosClass(value), podCgroup(value)], [qos, path]);
  t.end();
});

t.test('toShares(), computeOomScoreAdj() and formatDelay()', (t) => {
  t.same([0, 1, 100, 1000].map(toShares), [2, 2, 102, 1024]);
  const half = { name: 'c', resources: { requests: { memory: '512Mi' } } };
  t.equal(computeOomScoreAdj(pod({ containers: [half] }), half, 2 ** 30), 500);
  t.equal(computeOomScoreAdj(pod(), { name: 'c' }, 2 ** 30), 1000);
  t.equal(computeOomScoreAdj(pod({ priority: 2_000_001_000 }), { name: 'c' }, 2 ** 30), -997);
  t.same([10_000, 80_000, 300_000].map(formatDelay), ['10s', '1m20s', '5m0s']);
  t.end();
});

t.test('defaultPullPolicy() depends on the tag', (t) => {
  const rows = [
    ['nginx', 'Always'],
    ['nginx:latest', 'Always'],
    ['nginx:1', 'IfNotPresent'],
    ['reg:5000/nginx', 'Always'],
    ['nginx@sha256:abc', 'IfNotPresent'],
  ] as const;
  for (const [image, policy] of rows) t.equal(defaultPullPolicy(image), policy, image);
  t.end();
});

t.test('matchCredentials() finds the logins of a registry, the longest first', (t) => {
  const login = (registry: string) => ({ registry, username: registry, password: '', identityToken: '' });
  const all = ['https://index.docker.io/v1/', 'reg.example:5000', 'reg.example:5000/team', '*.example'].map(
    login,
  );
  const names = (image: string) => matchCredentials(image, all).map(({ registry }) => registry);
  t.same(names('nginx:1'), ['https://index.docker.io/v1/']);
  t.same(names('reg.example:5000/team/x:1'), ['reg.example:5000/team', 'reg.example:5000']);
  t.same(names('reg.example:5000/teamx/x'), ['reg.example:5000']);
  t.same(names('a.example/x'), ['*.example']);
  t.same(names('quay.io/x/y'), []);
  t.end();
});

t.test('parseKubeletConfig() names what it does not follow', (t) => {
  const text = `kind: KubeletConfiguration
staticPodPath: /m
clusterDNS: [10.96.0.10]
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: /ca}}
nodeStatusUpdateFrequency: 0s
imageMinimumGCAge: 0s
podPidsLimit: 100
maxOpenFiles: 5
newField: 1
featureGates: {}
`;
  const { config, unfollowed } = parseKubeletConfig(text, 'x');
  t.match(config, {
    staticPodPath: '/m',
    clientCaFile: '/ca',
    isAnonymousAllowed: false,
    nodeStatusUpdateMs: 10_000,
    podPidsLimit: 100,
  });
  t.same(
    unfollowed.map((field) => field.path),
    ['maxOpenFiles', 'newField'],
  );
  for (const refused of ['tlsCipherSuites: [x]', 'protectKernelDefaults: true', 'enableServer: false']) {
    t.throws(
      () => parseKubeletConfig(refused, 'x'),
      { message: new RegExp(refused.split(':')[0]!) },
      refused,
    );
  }
  t.same(parseKubeletConfig('enableServer: true\nprotectKernelDefaults: false', 'x').unfollowed, []);
  t.throws(() => parseKubeletConfig('kind: Pod', 'x'), { code: 'AGENT_CONFIG_INVALID' });
  t.end();
});

t.test('parseLabels() and parseTaints()', (t) => {
  t.same(parseLabels(['a=b', 'c=']), { a: 'b', c: '' });
  t.same(parseTaints(['k=v:NoSchedule', 'x:NoExecute'], []), [
    { key: 'k', value: 'v', effect: 'NoSchedule' },
    { key: 'x', effect: 'NoExecute' },
  ]);
  t.throws(() => parseTaints(['k=v:Never'], []), { code: 'AGENT_CONFIG_INVALID' });
  t.end();
});

t.test('parseStaticPod() names, hashes and defaults', (t) => {
  const text =
    'apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: x}]}\n';
  const options = { path: '/m/web.yaml', nodeName: 'n1', seenAt: new Date(0) };
  const first = parseStaticPod(text, options);
  t.match(first.metadata, { name: 'web-n1', namespace: 'default', uid: /^[0-9a-f]{32}$/ });
  t.equal(first.spec.restartPolicy, 'Always');
  t.equal(parseStaticPod(text, options).metadata.uid, first.metadata.uid);
  t.not(parseStaticPod(text.replace('image: x', 'image: y'), options).metadata.uid, first.metadata.uid);
  const bad = text.replace('containers', 'volumes: [{name: v, secret: {secretName: s}}], containers');
  t.throws(() => parseStaticPod(bad, options), { code: 'AGENT_MANIFEST_INVALID' });
  t.throws(() => parseStaticPod('a: [', options), { code: 'AGENT_MANIFEST_INVALID' });
  t.end();
});

const READY = { id: 's', attempt: 0, isReady: true, createdAtMs: 1, ips: ['10.0.0.9'], handler: '' };

function state(containers: readonly Partial<ContainerState>[] = [], sandboxes = [READY]): PodState {
  const full = containers.map((container, index) => ({
    id: `id${index}`,
    sandboxId: 's',
    hash: '',
    exitCode: 0,
    ...container,
  }));
  return { uid: 'u', name: 'p', namespace: 'ns', sandboxes, containers: full as ContainerState[] };
}

t.test('computePodActions() decides as the kubelet', (t) => {
  const verdicts = { isStarted: () => true, hasFailedLiveness: () => false, hasFailedStartup: () => false };
  const act = (value: AgentPod, now: PodState, probes = verdicts) => {
    const actions = computePodActions(value, now, probes);
    return [
      actions.killPod,
      actions.createSandbox,
      actions.toKill.map(({ name }) => name).join(),
      actions.initToStart.map(({ name }) => name).join(),
      actions.toStart.map(({ name }) => name).join(),
    ];
  };
  const init = pod({ initContainers: [{ name: 'i1' }, { name: 'i2' }] });
  const sidecar = pod({ initContainers: [{ name: 'side', restartPolicy: 'Always' } as core.Container] });
  const running = { name: 'c', state: 'running' as const };
  const exited = (name: string, exitCode = 0) => ({ name, state: 'exited' as const, exitCode });
  t.same(act(pod(), state([], [])), [false, true, '', '', 'c'], 'a new pod');
  t.same(act(init, state([], [])), [false, true, '', 'i1', ''], 'init containers first');
  t.same(act(init, state([exited('i1')])), [false, false, '', 'i2', ''], 'one after another');
  t.same(act(init, state([exited('i2'), exited('i1')])), [false, false, '', '', 'c'], 'then containers');
  t.same(
    act(pod({ ...init.spec, restartPolicy: 'Never' }), state([exited('i1', 1)])),
    [true, false, '', '', ''],
    'a failed init ends it',
  );
  t.same(act(pod(), state([running])), [false, false, '', '', ''], 'nothing to do');
  t.same(act(pod(), state([exited('c')])), [false, false, '', '', 'c'], 'Always restarts');
  t.same(act(pod({ restartPolicy: 'OnFailure' }), state([exited('c')])), [true, false, '', '', ''], 'done');
  t.same(
    act(pod({ restartPolicy: 'OnFailure' }), state([exited('c', 1)])),
    [false, false, '', '', 'c'],
    'again',
  );
  t.same(
    act(pod(), state([running], [{ ...READY, isReady: false }])),
    [true, true, '', '', 'c'],
    'a lost sandbox',
  );
  const sick = { ...verdicts, hasFailedLiveness: () => true };
  t.same(act(pod(), state([running]), sick), [false, false, 'c', '', 'c'], 'liveness');
  t.same(
    act(pod({ restartPolicy: 'Never' }), state([running]), sick),
    [false, false, 'c', '', ''],
    'killed only',
  );
  t.same(act(sidecar, state([])), [false, false, '', 'side', ''], 'a sidecar first');
  t.same(
    act(sidecar, state([{ name: 'side', state: 'running' }])),
    [false, false, '', '', 'c'],
    'then the container',
  );
  t.same(
    act(sidecar, state([running, exited('side')])),
    [false, false, '', 'side', ''],
    'a sidecar comes back',
  );
  t.same(act(pod(), state([{ ...running, hash: 'other' }])), [false, false, 'c', '', 'c'], 'another image');
  t.end();
});

t.test('computePhase() follows restartPolicy', (t) => {
  const statuses = (...states: core.ContainerState[]) => ({
    initContainerStatuses: [],
    ephemeralContainerStatuses: [],
    containerStatuses: states.map((value) => ({ state: value }) as core.ContainerStatus),
  });
  const up = { running: {} };
  const ok = { terminated: { exitCode: 0 } };
  const bad = { terminated: { exitCode: 1 } };
  const rows = [
    ['Always', [{ waiting: {} }], false, 'Pending'],
    ['Always', [up], false, 'Running'],
    ['Always', [bad], false, 'Running'],
    ['Always', [bad], true, 'Failed'],
    ['Never', [ok, ok], false, 'Succeeded'],
    ['Never', [ok, bad], false, 'Failed'],
    ['OnFailure', [bad], false, 'Running'],
    ['OnFailure', [ok], false, 'Succeeded'],
  ] as const;
  for (const [restartPolicy, states, isTerminating, phase] of rows) {
    t.equal(
      computePhase(pod({ restartPolicy }), statuses(...states), isTerminating),
      phase,
      `${restartPolicy} ${phase}`,
    );
  }
  t.end();
});

t.test('buildStatusPatch() nulls what is gone', (t) => {
  t.same(buildStatusPatch({ phase: 'Running', reason: 'x' }, { phase: 'Failed' }), {
    phase: 'Failed',
    reason: null,
  });
  t.end();
});

t.test('admitPod() refuses clashing host ports and full nodes', (t) => {
  const port = (hostPort: number, hostIP?: string) =>
    pod({
      containers: [{ name: 'c', ports: [{ containerPort: 1, hostPort, ...(hostIP ? { hostIP } : {}) }] }],
    });
  const other = (value: AgentPod): AgentPod => ({ ...value, metadata: { ...value.metadata, uid: 'other' } });
  const node = {
    allocatable: { cpu: '1', pods: '2', 'a.b/c': '3' },
    nodeLabels: { zone: 'a' },
    allowedUnsafeSysctls: [],
  };
  t.equal(admitPod(port(80), { ...node, active: [other(port(80))] })?.reason, 'NodePorts');
  t.equal(admitPod(port(80, '127.0.0.1'), { ...node, active: [other(port(80, '10.0.0.1'))] }), undefined);
  t.equal(admitPod(pod(), { ...node, active: [other(pod()), other(pod())] })?.reason, 'OutOfpods');
  const big = pod({ containers: [{ name: 'c', resources: { requests: { cpu: '2' } } }] });
  t.equal(admitPod(big, { ...node, active: [] })?.reason, 'OutOfcpu');
  const device = (name: string, count: string) =>
    pod({ containers: [{ name: 'c', resources: { requests: { [name]: count } } }] });
  t.equal(admitPod(device('a.b/c', '4'), { ...node, active: [] })?.reason, 'OutOfa.b/c');
  t.equal(admitPod(device('a.b/c', '1'), { ...node, active: [other(device('a.b/c', '2'))] }), undefined);
  t.equal(admitPod(device('of.others/c', '4'), { ...node, active: [] }), undefined, 'not of this node');
  const sysctl = pod({ securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] } });
  t.equal(admitPod(sysctl, { ...node, active: [] })?.reason, 'SysctlForbidden');
  t.equal(admitPod(pod({ nodeSelector: { zone: 'b' } }), { ...node, active: [] })?.reason, 'NodeAffinity');
  t.end();
});

t.test('buildNodeRoutes() goes through the internal address of each other node', (t) => {
  const node = (name: string, podCIDR: string, address: string): core.Node => ({
    metadata: { name },
    spec: { podCIDR },
    status: { addresses: [{ type: 'InternalIP', address }] },
  });
  const nodes = [node('me', '10.244.0.0/24', '192.0.2.1'), node('you', '10.244.1.0/24', '192.0.2.2')];
  t.same(buildNodeRoutes(nodes, 'me'), [{ destination: '10.244.1.0/24', gateway: '192.0.2.2' }]);
  t.end();
});

t.test('parseLogLine(), parseStreamPath() and subresourcesOf()', (t) => {
  const record = parseLogLine(Buffer.from('2026-11-21T07:00:00.1Z stderr P part of it'));
  t.match(record, { stream: 'stderr', isPartial: true, timestamp: '2026-11-21T07:00:00.1Z' });
  t.equal(record?.content.toString(), 'part of it');
  t.equal(parseLogLine(Buffer.from('2026 stdout F '))?.content.length, 0);
  t.equal(parseLogLine(Buffer.from('nothing of the kind')), undefined);
  t.same(parseStreamPath('/exec/ns/p/c'), { verb: 'exec', namespace: 'ns', pod: 'p', container: 'c' });
  t.same(parseStreamPath('/exec/ns/p/uid/c')?.container, 'c');
  t.equal(parseStreamPath('/portForward/ns/p')?.verb, 'portForward');
  t.equal(parseStreamPath('/run/ns/p/c'), undefined);
  t.same(subresourcesOf('/exec/a/b/c'), ['proxy']);
  t.same(subresourcesOf('/stats/summary'), ['stats']);
  t.same(subresourcesOf('/pods'), ['pods', 'proxy']);
  t.end();
});

t.test('certificates and requests are what others can read', (t) => {
  const key = generateKeyPem();
  const request = buildCertificateRequest(
    { subject: { commonName: 'system:node:n', organization: 'system:nodes' }, names: ['n', '192.0.2.1'] },
    key,
  );
  t.match(parseCertificateRequest(request), {
    subject: { commonName: 'system:node:n', organizations: ['system:nodes'] },
    dnsNames: ['n'],
    ipAddresses: ['192.0.2.1'],
  });
  const certificate = new X509Certificate(
    buildSelfSignedCertificate(
      {
        subject: { commonName: 'n@1' },
        names: ['n', '192.0.2.1', 'fe80::1'],
        notBefore: new Date('2026-01-01T00:00:00Z'),
        notAfter: new Date('2051-01-01T00:00:00Z'),
      },
      key,
    ),
  );
  t.ok(certificate.verify(createPublicKey(key)));
  t.equal(certificate.checkHost('n'), 'n');
  t.equal(certificate.checkIP('192.0.2.1'), '192.0.2.1');
  t.match(certificate.validTo, '2051');
  t.equal(addressBytes('2001:db8::1').toString('hex'), '20010db8000000000000000000000001');
  t.end();
});
