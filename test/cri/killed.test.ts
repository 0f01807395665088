import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { createRandom } from '../random.ts';
import { skipReason } from '../runtime/network/own-network.ts';
import { readTraces, type Service, startService } from './service.ts';

/** How many pods are made and removed; 200 take some minutes. */
const CYCLES = Number(process.env['TKADM_KILL_CYCLES'] ?? 40);
const SEED = Number(process.env['TKADM_KILL_SEED'] ?? 7);
const LANES = 4;
/** The service is killed at some moment of so many milliseconds, over and over. */
const MAX_LIFE_MS = 200;

t.test(
  'a service that is killed over and over loses nothing and leaves nothing',
  { skip: skipReason },
  async (t) => {
    const service = await startService();
    t.teardown(() => service.close());
    const before = readTraces(service);
    const survivor = await startSurvivor(service);
    const random = createRandom(SEED);
    let started = 0;
    let kills = 0;
    let up = Promise.resolve();
    const lane = async () => {
      while (started < CYCLES) {
        started += 1;
        await up;
        // A call that fails was cut off by the kill: what it left is looked at in the end.
        await cyclePod(service, `pod-${started}`).catch(() => {});
      }
    };
    const lanes = Promise.all(Array.from({ length: LANES }, lane));
    let isOver = false;
    void lanes.then(() => {
      isOver = true;
    });
    while (!isOver) {
      await sleep(random.int(MAX_LIFE_MS));
      if (isOver) break;
      const ending = await startEnding(service, kills).catch(() => undefined);
      up = service.killAndRestart();
      await up;
      kills += 1;
      await verifySurvivor(t, service, survivor);
      if (ending !== undefined) await verifyEnding(t, service, ending);
    }
    await lanes;
    await service.killAndRestart();
    t.comment(`${started} pods, ${kills + 1} kills`);
    await verifyRecords(t, service);
    verifyLog(t, survivor.logPath);
    await removeAll(service);
    await waitFor(async () => (readTraces(service).monitors === before.monitors ? true : undefined), {
      subject: 'the end of the monitors',
      timeoutMs: 10_000,
    });
    t.same(readTraces(service), before, 'nothing is left');
  },
);

interface Survivor {
  readonly podSandboxId: string;
  readonly containerId: string;
  readonly pid: number;
  readonly logPath: string;
}

/** A pod that lives through all kills and counts. */
async function startSurvivor(service: Service): Promise<Survivor> {
  const script = 'i=0; while :; do echo count $i; i=$((i+1)); sleep 0.05; done';
  const { podSandboxId, containerId } = await startPod(service, 'survivor', script);
  return { podSandboxId, containerId, ...(await readContainer(service, containerId)) };
}

async function verifySurvivor(t: Test, service: Service, survivor: Survivor): Promise<void> {
  const { client } = service;
  const sandbox = await client.podSandboxStatus({ podSandboxId: survivor.podSandboxId });
  t.equal(sandbox.status?.state, 'SANDBOX_READY');
  const { pid, state } = await readContainer(service, survivor.containerId);
  t.same([pid, state], [survivor.pid, 'CONTAINER_RUNNING'], 'it is the same process');
}

/** Every number is there once, in order. */
function verifyLog(t: Test, path: string): void {
  const numbers = [...readFileSync(path, 'utf8').matchAll(/ F count (\d+)$/gm)].map((match) =>
    Number(match[1]),
  );
  t.ok(numbers.length > 0);
  t.equal(
    numbers.findIndex((number, index) => number !== index),
    -1,
    `no line of ${numbers.length} is lost or doubled`,
  );
}

/** A container that ends while the service is away. */
async function startEnding(
  service: Service,
  index: number,
): Promise<{ readonly id: string; readonly code: number }> {
  const code = 10 + (index % 100);
  const { containerId } = await startPod(service, `ending-${index}`, `sleep 0.3; exit ${code}`);
  return { id: containerId, code };
}

async function verifyEnding(
  t: Test,
  service: Service,
  { id, code }: { readonly id: string; readonly code: number },
): Promise<void> {
  const status = await waitFor(
    async () => {
      const { status: now } = await service.client.containerStatus({ containerId: id });
      return now?.state === 'CONTAINER_EXITED' ? now : undefined;
    },
    { subject: 'the exit', timeoutMs: 20_000, intervalMs: 20 },
  );
  t.equal(status.exitCode, code, 'the exit code is kept');
}

/** What is on the machine is in the lists, and the other way round. */
async function verifyRecords(t: Test, service: Service): Promise<void> {
  const { client } = service;
  const sandboxes = (await client.listPodSandbox({})).items;
  const { containers } = await client.listContainers({});
  const ready = sandboxes.filter(({ state }) => state === 'SANDBOX_READY');
  const traces = readTraces(service);
  t.equal(containers.filter(({ state }) => state === 'CONTAINER_UNKNOWN').length, 0);
  t.equal(traces.sandboxes, sandboxes.length);
  t.equal(traces.containers, containers.length);
  t.equal(traces.interfaces, ready.length, 'an interface for each pod that is ready');
  t.equal(traces.addresses, ready.length, 'and an address');
  t.equal(traces.mounts, ready.length, 'and one mount: its shared memory');
  const sandboxIds = new Set(sandboxes.map(({ id }) => id));
  t.ok(
    containers.every(({ podSandboxId }) => sandboxIds.has(podSandboxId)),
    'each has its sandbox',
  );
}

async function removeAll({ client }: Service): Promise<void> {
  for (const { id } of (await client.listPodSandbox({})).items) {
    await client.stopPodSandbox({ podSandboxId: id });
    await client.removePodSandbox({ podSandboxId: id });
  }
}

async function cyclePod(service: Service, name: string): Promise<void> {
  const { podSandboxId, containerId } = await startPod(service, name, 'sleep 100');
  await service.client.stopContainer({ containerId, timeout: 0 });
  await service.client.removeContainer({ containerId });
  await service.client.stopPodSandbox({ podSandboxId });
  await service.client.removePodSandbox({ podSandboxId });
}

async function startPod(service: Service, name: string, script: string) {
  const { client } = service;
  const config = {
    metadata: { name, uid: name, namespace: 'kill', attempt: 0 },
    hostname: name,
    logDirectory: join(service.directory, 'logs', name),
    linux: { cgroupParent: service.cgroupParent },
  };
  const { podSandboxId } = await client.runPodSandbox({ config });
  const { containerId } = await client.createContainer({
    podSandboxId,
    config: {
      metadata: { name: 'c' },
      image: { image: 'busybox' },
      command: ['sh', '-c', script],
      logPath: 'c.log',
    },
    sandboxConfig: config,
  });
  await client.startContainer({ containerId });
  return { podSandboxId, containerId };
}

async function readContainer(service: Service, containerId: string) {
  const { status, info } = await service.client.containerStatus({ containerId, verbose: true });
  const { pid } = JSON.parse(info['info'] ?? '{}') as { readonly pid: number };
  return { pid, state: status?.state ?? '', logPath: status?.logPath ?? '' };
}
