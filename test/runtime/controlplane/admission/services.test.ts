import type { Service, ServiceSpec } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import type { KubeObject } from '../../../../runtime/api/kinds.ts';
import { parseIpRange } from '../../../../runtime/controlplane/admission/strategies/ip-range.ts';
import { Admission } from './admission-harness.ts';

function service(name: string, spec: ServiceSpec = {}): Service & KubeObject {
  const ports = [{ port: 80 }];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { ports, ...spec },
  } as Service;
}

t.test('parseIpRange() counts addresses', (t) => {
  const cases = [
    ['10.96.0.0/12', 10, '10.96.0.10', 2 ** 20 - 2],
    ['10.0.0.0/29', 6, '10.0.0.6', 6],
    ['fd00::/112', 255, 'fd00::ff', 65_535],
    ['fd00:10:96::/108', 65_536, 'fd00:10:96::1:0', 2 ** 20 - 1],
  ] as const;
  for (const [cidr, offset, address, size] of cases) {
    const range = parseIpRange(cidr);
    t.equal(range.address(offset), address);
    t.equal(range.offset(address), offset);
    t.equal(range.size, size, `${cidr} size`);
  }
  t.equal(parseIpRange('10.0.0.0/29').offset('10.0.0.7'), undefined, 'broadcast');
  t.equal(parseIpRange('10.0.0.0/29').offset('10.0.0.0'), undefined, 'network');
  t.equal(parseIpRange('10.0.0.0/29').offset('fd00::1'), undefined, 'other family');
  t.equal(parseIpRange('fd00::/112').offset('fd00:0::0001'), 1, 'another spelling');
  t.throws(() => parseIpRange('10.0.0.0/33'));
  t.end();
});

t.test('ServiceStrategy fills in a ClusterIP Service', async (t) => {
  const admission = new Admission();
  const { spec, status } = await admission.create(service('a'));
  t.match(spec, {
    type: 'ClusterIP',
    clusterIP: /^10\./,
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    internalTrafficPolicy: 'Cluster',
    sessionAffinity: 'None',
    ports: [{ port: 80, targetPort: 80, protocol: 'TCP' }],
  });
  t.same(spec?.clusterIPs, [spec?.clusterIP]);
  t.same(status, { loadBalancer: {} });
  t.notOk(spec?.ports?.[0]?.nodePort);
  const dns = await admission.create(service('dns', { clusterIP: '10.96.0.10' }));
  t.same(dns.spec?.clusterIPs, ['10.96.0.10']);
  await t.rejects(admission.run({ object: service('twice', { clusterIP: '10.96.0.10' }) }), {
    code: 422,
    message:
      'Service "twice" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated',
  });
  await t.rejects(admission.run({ object: service('out', { clusterIP: '192.168.0.1' }) }), {
    code: 422,
    message:
      /the provided IP \(192\.168\.0\.1\) is not in the valid range\. The range of valid IPs is 10\.96\.0\.0\/12/,
  });
  t.match((await admission.create(service('headless', { clusterIP: 'None' }))).spec, {
    clusterIP: 'None',
    clusterIPs: ['None'],
  });
  const external = await admission.create(
    service('ext', { type: 'ExternalName', externalName: 'example.org' }),
  );
  t.equal(external.spec?.clusterIP, undefined);
});

t.test('ServiceStrategy never gives an address or port twice', async (t) => {
  const admission = new Admission({
    serviceCidrs: ['10.0.0.0/26'],
    nodePortRange: { from: 31000, to: 31061 },
  });
  const created = await Promise.all(
    Array.from({ length: 62 }, (_, i) =>
      admission.run<Service>({ object: service(`s${i}`, { type: 'NodePort' }) }),
    ),
  );
  t.equal(new Set(created.map(({ spec }) => spec?.clusterIP)).size, 62, 'addresses');
  t.equal(new Set(created.map(({ spec }) => spec?.ports?.[0]?.nodePort)).size, 62, 'ports');
  await t.rejects(admission.run({ object: service('more') }), { code: 500, message: /range is full/ });
  admission.reader.put(...created);
  await t.rejects(admission.run({ object: service('more') }), { code: 500 }, 'full after the commit too');
  const [first] = created;
  admission.reader.remove(first!);
  const next = await admission.create(service('next', { type: 'NodePort' }));
  t.equal(next.spec?.clusterIP, first?.spec?.clusterIP, 'a deleted Service frees its address');
  t.equal(next.spec?.ports?.[0]?.nodePort, first?.spec?.ports?.[0]?.nodePort, 'and its port');
});

t.test('ServiceStrategy gives back what a failed or dry write took', async (t) => {
  const admission = new Admission({ serviceCidrs: ['10.0.0.0/30'] });
  for (let i = 0; i < 5; i += 1) {
    t.ok(
      (await admission.run<Service>({ object: service('dry'), isDryRun: true })).spec?.clusterIP,
      'dry run',
    );
    const request = admission.request({ object: service('undone') });
    for (const plugin of admission.chain) await plugin.admit?.(request);
    for (const plugin of admission.chain) await plugin.undo?.(request);
  }
  await admission.create(service('a'));
  await admission.create(service('b'));
  await t.rejects(admission.run({ object: service('c') }), { code: 500 });
});

t.test('ServiceStrategy keeps and changes what an update asks', async (t) => {
  const admission = new Admission();
  const old = await admission.create(service('a', { type: 'NodePort' }));
  const update = (spec: ServiceSpec) => admission.run<Service>({ object: service('a', spec), old });
  const kept = await update({ type: 'NodePort' });
  t.equal(kept.spec?.clusterIP, old.spec?.clusterIP);
  t.equal(kept.spec?.ports?.[0]?.nodePort, old.spec?.ports?.[0]?.nodePort);
  const plain = await update({ type: 'ClusterIP', ports: structuredClone(old.spec!.ports!) });
  t.equal(plain.spec?.ports?.[0]?.nodePort, undefined, 'NodePort → ClusterIP');
  t.equal(plain.spec?.clusterIP, old.spec?.clusterIP);
  const external = await update({
    type: 'ExternalName',
    externalName: 'x.org',
    clusterIP: old.spec!.clusterIP!,
  });
  t.equal(external.spec?.clusterIP, undefined, '→ ExternalName');
  await t.rejects(update({ clusterIP: '10.96.3.4' }), { code: 422, message: /may not change once set/ });
  const other = await admission.create(
    service('b', {
      type: 'NodePort',
      ports: [
        { port: 53, protocol: 'TCP' },
        { port: 53, protocol: 'UDP' },
      ],
    }),
  );
  const [tcp, udp] = other.spec?.ports ?? [];
  t.equal(tcp?.nodePort, udp?.nodePort, 'one node port for both protocols');
  await t.rejects(update({ type: 'NodePort', ports: [{ port: 80, nodePort: tcp!.nodePort! }] }), {
    code: 422,
    message: new RegExp(
      `spec.ports\\[0\\].nodePort: Invalid value: ${tcp!.nodePort}: provided port is already allocated`,
    ),
  });
  await t.rejects(update({ type: 'NodePort', ports: [{ port: 80, nodePort: 80 }] }), {
    code: 422,
    message: /The range of valid ports is 30000-32767/,
  });
});

t.test('ServiceStrategy serves two families', async (t) => {
  const admission = new Admission({ serviceCidrs: ['10.96.0.0/16', 'fd00::/112'] });
  const dual = await admission.create(service('dual', { ipFamilyPolicy: 'PreferDualStack' }));
  t.same(dual.spec?.ipFamilies, ['IPv4', 'IPv6']);
  t.match(dual.spec?.clusterIPs, [/^10\.96\./, /^fd00::/]);
  const six = await admission.create(service('six', { ipFamilies: ['IPv6'] }));
  t.match(six.spec, { clusterIP: /^fd00::/, ipFamilies: ['IPv6'] });
  const single = new Admission();
  await t.rejects(single.run({ object: service('x', { ipFamilyPolicy: 'RequireDualStack' }) }), {
    code: 422,
    message: /not configured for dual-stack/,
  });
  t.match((await single.create(service('y', { ipFamilyPolicy: 'PreferDualStack' }))).spec?.ipFamilies, [
    'IPv4',
  ]);
  await t.rejects(single.run({ object: service('z', { ipFamilies: ['IPv6'] }) }), {
    code: 422,
    message: /not configured on this cluster/,
  });
});
