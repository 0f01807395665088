import t from 'tap';
import { parsePlugins } from '../../preflight/checks/cluster.ts';
import { CHECKS } from '../../preflight/checks.ts';
import type { PreflightInput } from '../../preflight/finding.ts';
import { runPreflight } from '../../preflight/run.ts';
import { CONFIG_MAPS, DEPLOYMENTS, JOBS, NODES } from '../../runtime/api/kinds.ts';
import type { Host } from '../../runtime/base/host.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { startTestServer } from '../runtime/controlplane/apiserver/test-server.ts';

const SYSTEM = 'kube-system';
const EMPTY = {
  nodeName: 'node-1',
  ports: [],
  absentFiles: [],
  podCidrs: [],
  serviceCidrs: [],
  ignored: [],
} as const;
const COREFILE = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    # proxy is a comment here
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
`;

t.test('parsePlugins() finds the plugins, not their options', (t) => {
  t.same(
    parsePlugins(COREFILE),
    'errors health ready kubernetes forward cache loop reload loadbalance'.split(' '),
  );
  t.same(parsePlugins('a.b:53 c.d {\n log\n}\n. {\n  hosts { 1.2.3.4 x\n fallthrough\n }\n}\n'), [
    'log',
    'hosts',
  ]);
  t.end();
});

t.test('ProductUUID: a Node of the cluster that this machine is a copy of', async (t) => {
  const server = await startTestServer(t as never);
  const admin = await server.client('admin');
  const uuid = '4C4C4544-0042-3510-8052-B4C04F4B3332';
  for (const [name, systemUUID] of [
    ['twin', uuid.toLowerCase()],
    ['other', 'another'],
  ] as const) {
    await admin.create(NODES, { metadata: { name } });
    const body = { status: { nodeInfo: { systemUUID } } };
    await admin.patch(NODES, { name, subresource: 'status' }, { type: 'merge', body });
  }
  const machine = (text: string | undefined): Host => ({
    ...createLocalHost(),
    readFile: async (path) => (path === '/sys/class/dmi/id/product_uuid' ? text : undefined),
  });
  const look = async (host: Host, more: Partial<PreflightInput> = {}) => {
    const checks = CHECKS.filter((row) => row.name === 'ProductUUID');
    const input: PreflightInput = {
      ...EMPTY,
      scope: 'join' as const,
      nodeName: 'new',
      api: async () => admin,
      ...more,
    };
    const { findings, checks: results } = await runPreflight(host, input, { checks });
    return { findings, result: results[0]?.result };
  };
  t.match(await look(machine(`${uuid}\n`)), {
    findings: [
      { severity: 'warning', reason: /Node "twin" has the same product UUID/, fix: /delete node twin/ },
    ],
  });
  t.same((await look(machine(`${uuid}\n`), { nodeName: 'twin' })).findings, [], 'the same Node again');
  t.same(await look(machine('a new one\n')), { findings: [], result: 'passed' });
  t.match(await look(machine(undefined)), { result: 'idle' }, 'no firmware tables');
  t.match(await look(machine(uuid), { api: undefined }), { result: 'idle' });
  const stranger = await server.client('jane');
  t.match(await look(machine(uuid), { api: async () => stranger }), {
    findings: [{ severity: 'note', evidence: /may not list/ }],
  });
});

t.test('the checks of an upgrade, against an API server', async (t) => {
  const server = await startTestServer(t as never);
  const api = await server.client('admin');
  const input: PreflightInput = {
    ...EMPTY,
    scope: 'upgrade',
    api: async () => api,
  };
  const look = async (name: string, more: Partial<PreflightInput> = {}) => {
    const checks = CHECKS.filter((row) => row.name === name);
    return (await runPreflight(createLocalHost(), { ...input, ...more }, { checks })).findings;
  };
  const setCorefile = async (text: string) => {
    const ref = { namespace: SYSTEM, name: 'coredns' };
    const object = { metadata: ref, data: { Corefile: text } };
    if (await api.find(CONFIG_MAPS, ref)) await api.delete(CONFIG_MAPS, ref);
    await api.create(CONFIG_MAPS, object);
  };

  await t.test('CoreDNSUnsupportedPlugins', async (t) => {
    await setCorefile(COREFILE);
    t.same(await look('CoreDNSUnsupportedPlugins'), []);
    await setCorefile(COREFILE.replace('loop', 'rewrite name a b\n    mystery'));
    t.match(await look('CoreDNSUnsupportedPlugins'), [{ severity: 'error', reason: /rewrite, mystery$/ }]);
    t.match(await look('CoreDNSUnsupportedPlugins', { engine: 'upstream' }), [{ reason: / mystery$/ }]);
    t.match(await look('CoreDNSUnsupportedPlugins', { api: undefined }), [{ severity: 'note' }]);
  });

  await t.test('CoreDNSMigration', async (t) => {
    await setCorefile(COREFILE);
    t.same(await look('CoreDNSMigration'), []);
    await setCorefile(COREFILE.replace('forward .', 'proxy .'));
    t.match(await look('CoreDNSMigration'), [
      { severity: 'error', reason: /"proxy".*in its place: forward/ },
    ]);
    await setCorefile(COREFILE);
    const labels = { app: 'dns' };
    await api.create(DEPLOYMENTS, {
      metadata: { namespace: SYSTEM, name: 'coredns' },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { containers: [{ name: 'coredns', image: 'registry.k8s.io/coredns/coredns:v1.14.2' }] },
        },
      },
    });
    t.same(await look('CoreDNSMigration', { engine: 'upstream' }), []);
    const patch = {
      spec: { template: { spec: { containers: [{ name: 'coredns', image: 'coredns:v1.2.6' }] } } },
    };
    await api.patch(DEPLOYMENTS, { namespace: SYSTEM, name: 'coredns' }, { type: 'strategic', body: patch });
    t.match(await look('CoreDNSMigration', { engine: 'upstream' }), [{ evidence: /coredns:v1\.2\.6/ }]);
  });

  const setReady = async (status: 'True' | 'False') => {
    const conditions = [{ type: 'Ready', status, lastHeartbeatTime: null, lastTransitionTime: null }];
    await api.patch(
      NODES,
      { name: 'cp', subresource: 'status' },
      { type: 'merge', body: { status: { conditions } } },
    );
  };

  await t.test('ControlPlaneNodesReady', async (t) => {
    await api.create(NODES, {
      metadata: { name: 'cp', labels: { 'node-role.kubernetes.io/control-plane': '' } },
    });
    await api.create(NODES, { metadata: { name: 'worker' } });
    t.match(await look('ControlPlaneNodesReady'), [
      { severity: 'error', reason: /: cp$/, evidence: /1 of 1/ },
    ]);
    await setReady('True');
    t.same(await look('ControlPlaneNodesReady'), []);
    await setReady('False');
    t.equal((await look('ControlPlaneNodesReady')).length, 1);
  });

  await t.test('CreateJob', async (t) => {
    const images = {
      names: ['registry.k8s.io/pause:3.10.2'],
      policy: 'IfNotPresent',
      isSerial: true,
    } as const;
    t.match(await look('CreateJob', { images }), [{ severity: 'note', evidence: /no node takes/ }]);
    await api.patch(NODES, { name: 'worker' }, { type: 'merge', body: { spec: { taints: null } } });
    t.match(await look('CreateJob', { isDryRun: true, images }), [{ severity: 'note', evidence: /dry run/ }]);
    t.match(await look('CreateJob', { engine: 'upstream' }), [{ severity: 'note', evidence: /not known/ }]);
    t.same((await api.list(JOBS)).items, [], 'nothing was made');
    for (const [engine, image] of [
      ['upstream', 'registry.k8s.io/pause:3.10.2'],
      ['embedded', 'tkadm.local/coredns:v1.36.2'],
    ] as const) {
      const running = look('CreateJob', { images, engine });
      const job = await waitFor(async () => (await api.list(JOBS, { namespace: SYSTEM })).items[0], {
        subject: 'the Job',
        timeoutMs: 5_000,
      });
      t.equal(job.spec?.template.spec?.containers[0]?.image, image);
      t.match(job.metadata?.name, /^upgrade-health-check-[0-9a-f]{6}$/);
      // What the Job controller does when the pod has ended.
      const ref = { namespace: SYSTEM, name: job.metadata!.name!, subresource: 'status' };
      await api.patch(JOBS, ref, { type: 'merge', body: { status: { succeeded: 1 } } });
      t.same(await running, []);
      t.same((await api.list(JOBS)).items, [], 'it is removed');
    }
  });

  await t.test('an API server that is away is an error of each check', async (t) => {
    await server.stop();
    t.match(await look('ControlPlaneNodesReady'), [
      { severity: 'error', reason: 'the check could not look' },
    ]);
  });
});
