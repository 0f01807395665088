import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { skipReason } from '../runtime/network/own-network.ts';
import { readTraces, type Service, startService } from './service.ts';

/** How many pods are made and removed; `npm run bench -- leak` takes 2,000. */
const CYCLES = Number(process.env['TKADM_LEAK_CYCLES'] ?? 30);
const LANES = 5;

t.test('pods that come and go leave nothing', { skip: skipReason }, async (t) => {
  const service = await startService();
  t.teardown(() => service.close());
  // What is opened once is opened now.
  await cycle(service, LANES, 'warm');
  const before = read(service);
  await cycle(service, CYCLES, 'pod');
  // Ends are seen a moment after they were told.
  await waitFor(async () => (JSON.stringify(read(service)) === JSON.stringify(before) ? true : undefined), {
    subject: 'the ends',
    timeoutMs: 10_000,
  }).catch(() => {});
  t.same(read(service), before);
});

function read(service: Service) {
  return { ...readTraces(service), descriptors: readdirSync(`/proc/${service.pid}/fd`).length };
}

async function cycle(service: Service, cycles: number, name: string): Promise<void> {
  let started = 0;
  const lane = async () => {
    while (started < cycles) {
      started += 1;
      await cyclePod(service, `${name}-${started}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function cyclePod({ client, cgroupParent, directory }: Service, name: string): Promise<void> {
  const config = {
    metadata: { name, uid: name, namespace: 'leak' },
    hostname: name,
    logDirectory: join(directory, 'logs', name),
    linux: { cgroupParent },
  };
  const { podSandboxId } = await client.runPodSandbox({ config });
  const container = {
    metadata: { name: 'c' },
    image: { image: 'busybox' },
    command: ['sleep', '100'],
    logPath: 'c',
  };
  const created = await client.createContainer({ podSandboxId, config: container, sandboxConfig: config });
  await client.startContainer(created);
  await client.execSync({ ...created, cmd: ['true'] });
  await client.listContainerStats({});
  await client.stopPodSandbox({ podSandboxId });
  await client.removePodSandbox({ podSandboxId });
}
