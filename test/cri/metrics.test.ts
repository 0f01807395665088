import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parsePressure } from '../../runtime/container/cgroup/cgroup-details.ts';
import { CONTAINER_METRICS, NETWORK_METRICS } from '../../runtime/cri/metrics-service.ts';
import { parseNetDev } from '../../runtime/cri/network-usage.ts';
import { hostPodConfig, openCriFixture, runContainer, skipReason } from './fixture.ts';

const PLUGIN = `#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" = ADD ] || exit 0
nsenter --net="$CNI_NETNS" ip link add eth0 type veth peer name peer0 || exit 1
nsenter --net="$CNI_NETNS" ip addr add 10.99.0.7/24 dev eth0
nsenter --net="$CNI_NETNS" sh -c 'ip link set eth0 up; ip link set peer0 up'
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.99.0.7/24"}]}'
`;

t.test('metric rows have names of their own and as many labels as they say', (t) => {
  const rows = [...CONTAINER_METRICS, ...NETWORK_METRICS];
  t.equal(new Set(rows.map(({ name }) => name)).size, rows.length);
  const [one] = parseNetDev('  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0');
  t.match(one, { name: 'eth0', rxBytes: 1, rxPackets: 2, rxErrors: 3, rxDropped: 4 });
  t.match(one, { txBytes: 5, txPackets: 6, txErrors: 7, txDropped: 8 });
  for (const row of NETWORK_METRICS) {
    t.ok(
      row.read([one!]).every(({ labels }) => labels.length === row.labelKeys.length),
      row.name,
    );
  }
  t.end();
});

t.test('parsePressure() reads the kernel’s lines', (t) => {
  const text =
    'some avg10=1.50 avg60=0.20 avg300=0.01 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n';
  const some = { avg10: 1.5, avg60: 0.2, avg300: 0.01, totalNanos: 12_000 };
  t.same(parsePressure(text), { some, full: { avg10: 0, avg60: 0, avg300: 0, totalNanos: 3000 } });
  t.same(parsePressure(text.split('\n')[0]!)?.full.totalNanos, 0);
  t.equal(parsePressure(''), undefined);
  t.end();
});

t.test('statistics and metrics of a pod', { skip: skipReason }, async (t) => {
  const fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const { client, directory } = fixture;
  for (const name of ['net.d', 'cni-bin']) mkdirSync(join(directory, name));
  const list = { cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'veth' }] };
  writeFileSync(join(directory, 'net.d/10.conflist'), JSON.stringify(list));
  writeFileSync(join(directory, 'cni-bin/veth'), PLUGIN, { mode: 0o755 });
  const config = {
    ...hostPodConfig(fixture),
    hostname: 'pod',
    linux: { cgroupParent: fixture.cgroupParent },
  };
  const { podSandboxId } = await client.runPodSandbox({ config });
  const containerId = await runContainer(fixture, podSandboxId, {
    command: ['sh', '-c', 'dd if=/dev/zero of=/tmp/file bs=1M count=3 2>/dev/null; sleep 100 & wait'],
    linux: {
      resources: { memoryLimitInBytes: 64 << 20, cpuShares: 512 },
      securityContext: { namespaceOptions: { pid: 'CONTAINER' } },
    },
  });
  await client.execSync({ containerId, cmd: ['ls', '/'] });

  t.test('every kind of usage is there', async (t) => {
    const { stats } = await client.containerStats({ containerId });
    t.ok((stats?.cpu?.usageCoreNanoSeconds?.value ?? 0) > 0);
    t.ok((stats?.memory?.pageFaults?.value ?? 0) > 0);
    t.ok(stats?.memory?.majorPageFaults !== undefined);
    t.ok((stats?.memory?.availableBytes?.value ?? 0) > 0);
    t.ok(stats?.attributes?.metadata?.name === 'c');
    const hasSwap = existsSync('/sys/fs/cgroup/memory/memory.memsw.usage_in_bytes');
    if (hasSwap) t.equal(stats?.swap?.swapUsageBytes?.value, 0);
    const pod = (await client.listPodSandboxStats({})).stats[0];
    t.equal(pod?.linux?.containers.length, 1);
    t.ok((pod?.linux?.memory?.pageFaults?.value ?? 0) > 0);
    t.equal(pod?.linux?.network?.defaultInterface?.name, 'eth0');
    t.ok((pod?.linux?.process?.processCount?.value ?? 0) >= 3, 'pause, sh, sleep');
  });

  t.test('metrics are those that were described, with their labels', async (t) => {
    const { descriptors } = await client.listMetricDescriptors({});
    const { podMetrics } = await client.listPodSandboxMetrics({});
    const [pod] = podMetrics;
    t.equal(pod?.podSandboxId, podSandboxId);
    const all = [...(pod?.metrics ?? []), ...(pod?.containerMetrics[0]?.metrics ?? [])];
    for (const metric of all) {
      const descriptor = descriptors.find(({ name }) => name === metric.name);
      t.equal(metric.labelValues.length, descriptor?.labelKeys.length, metric.name);
    }
    const read = (name: string, ...labels: readonly string[]) =>
      all.find((one) => one.name === name && labels.every((label) => one.labelValues.includes(label)));
    const ofContainer = [containerId, 'docker.io/library/busybox:latest', 'default', 'pod', 'c'];
    t.equal(read('container_spec_memory_limit_bytes', ...ofContainer)?.value?.value, 64 << 20);
    t.equal(read('container_spec_cpu_shares', ...ofContainer)?.value?.value, 512);
    t.equal(read('container_processes', ...ofContainer)?.value?.value, 2);
    t.match(read('container_network_transmit_bytes_total', podSandboxId, 'eth0'), { metricType: 'COUNTER' });
    const streamed: string[] = [];
    for await (const { podSandboxMetrics } of client.streamPodSandboxMetrics({})) {
      streamed.push(...podSandboxMetrics.map((one) => one.podSandboxId));
    }
    t.same(streamed, [podSandboxId]);
  });

  t.test('streams of lists hold what the lists hold', async (t) => {
    const count = async (stream: AsyncIterable<unknown>) => {
      let items = 0;
      for await (const _ of stream) items += 1;
      return items;
    };
    t.equal(await count(client.streamPodSandboxes({})), 1);
    t.equal(await count(client.streamContainers({})), 1);
    t.equal(await count(client.streamContainerStats({})), 1);
    t.equal(await count(client.streamPodSandboxStats({})), 1);
    t.equal(await count(client.streamImages({})), 2);
  });

  t.test('the resources of pod and container are updated and told', async (t) => {
    await client.updatePodSandboxResources({ podSandboxId, resources: { cpuShares: 700 } });
    const { info } = await client.podSandboxStatus({ podSandboxId, verbose: true });
    t.match(JSON.parse(info['info'] ?? '{}'), { config: { linux: { resources: { cpuShares: 700 } } } });
    await client.updateContainerResources({ containerId, linux: { oomScoreAdj: 500, cpuShares: 300 } });
    const { stdout } = await client.execSync({ containerId, cmd: ['cat', '/proc/1/oom_score_adj'] });
    t.equal(Buffer.from(stdout).toString().trim(), '500');
    await t.rejects(client.updatePodSandboxResources({ podSandboxId: 'x' }), {
      code: 'CRI_CALL',
      details: { grpcCode: 'NOT_FOUND' },
    });
  });
});
