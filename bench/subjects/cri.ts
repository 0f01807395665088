import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../runtime/base/time.ts';
import { type CriClient, createCriClient } from '../../runtime/cri/client.ts';
import type { LabHost } from '../../test/hosts/lab.ts';
import { addBusyboxImage, IMAGE, pathOn, withLab } from '../cluster.ts';
import { type Bench, type Subject, timed } from '../measure.ts';

const PEERS = 'containerd 2.1 with runc / crun';
const PARALLEL = 5;
const PAUSE_MS = 100;
const CALL = { timeoutMs: 20_000 };

/** The calls that make a pod, over CRI with the bridge network, by the built runtime on a host of its own. */
export const criSubject: Subject = {
  name: 'cri',
  rows: [
    { key: 'cri.run', what: 'RunPodSandbox', unit: 'ms', peers: `${PEERS} 106 / 84` },
    { key: 'cri.create', what: 'CreateContainer', unit: 'ms', peers: `${PEERS} 8.5 / 7.5` },
    { key: 'cri.start', what: 'StartContainer', unit: 'ms', peers: `${PEERS} 72 / 25` },
    {
      key: 'cri.up',
      what: 'pod up: the three together',
      unit: 'ms',
      bar: 80,
      peers: `${PEERS} 183-195 / 114-123`,
    },
    { key: 'cri.exec', what: 'ExecSync of true', unit: 'ms', bar: 12, peers: `${PEERS} 50 / 12` },
    { key: 'cri.stop', what: 'StopPodSandbox', unit: 'ms', bar: 50, peers: `${PEERS} 115 / 101` },
    {
      key: 'cri.parallel',
      what: 'five in parallel: full pod cycles',
      unit: '1/s',
      bar: 8,
      isRate: true,
      peers: `${PEERS} 3.6 / 5.9`,
    },
  ],
  async run(bench) {
    await withLab({ hostNames: ['bench-cri'] }, async (lab) => {
      const host = lab.hosts[0]!;
      await withRuntime(bench, host, async (client) => {
        for (let index = 0; index <= bench.samples * 2; index += 1) {
          await sleep(PAUSE_MS);
          // The first one warms the runtime up.
          await cyclePod(client, `pod-${index}`, index === 0 ? () => {} : bench.record);
        }
        await measureParallel(bench, client);
      });
    });
  },
};

/** Calls `use` with the client of a runtime on `host`, whose CNI network is a bridge. */
export async function withRuntime(
  bench: Bench,
  host: LabHost,
  use: (client: CriClient) => Promise<void>,
): Promise<void> {
  await addBusyboxImage(bench, host);
  const network = pathOn(host, '/etc/cni/net.d');
  mkdirSync(network, { recursive: true });
  writeFileSync(join(network, '10-bench.conflist'), JSON.stringify(NETWORK));
  const runtime = host.spawn(['node', join(bench.root, 'dist/node/tkadm-runtime.cjs')]);
  const socket = pathOn(host, '/run/tkadm/runtime.sock');
  const client = createCriClient(socket);
  try {
    await waitFor(async () => existsSync(socket) || undefined, { subject: 'the runtime', timeoutMs: 10_000 });
    await use(client);
  } finally {
    client.close();
    // It ends with the host.
    runtime.catch(() => {});
  }
}

const NETWORK = {
  cniVersion: '1.0.0',
  name: 'bench',
  plugins: [{ type: 'tkadm-bridge', bridge: 'bench0', podCIDR: '10.99.0.0/22' }],
};

/** The sandbox of a measured pod. */
export function podConfig(name: string) {
  return {
    metadata: { name, uid: `uid-${name}`, namespace: 'bench', attempt: 0 },
    hostname: name,
    logDirectory: `/var/log/pods/${name}`,
    linux: { cgroupParent: `/bench-pods/${name}` },
  };
}

export interface StartedPod {
  readonly podSandboxId: string;
  readonly containerId: string;
}

const SLEEPER = {
  metadata: { name: 'main' },
  image: { image: IMAGE },
  command: ['sleep', '600'],
  logPath: 'main/0.log',
};

/** A pod with one container that sleeps. */
export async function startPod(
  client: CriClient,
  config: ReturnType<typeof podConfig>,
  call: { readonly timeoutMs: number },
): Promise<StartedPod> {
  const { podSandboxId } = await client.runPodSandbox({ config }, call);
  const created = await client.createContainer(
    { podSandboxId, config: SLEEPER, sandboxConfig: config },
    call,
  );
  await client.startContainer(created, call);
  return { podSandboxId, ...created };
}

async function cyclePod(
  client: CriClient,
  name: string,
  record: (key: string, value: number) => void,
): Promise<void> {
  const config = podConfig(name);
  const run = await timed(() => client.runPodSandbox({ config }, CALL));
  const { podSandboxId } = run.value;
  const create = await timed(() =>
    client.createContainer({ podSandboxId, config: SLEEPER, sandboxConfig: config }, CALL),
  );
  const { containerId } = create.value;
  const start = await timed(() => client.startContainer({ containerId }, CALL));
  const exec = await timed(() => client.execSync({ containerId, cmd: ['true'], timeout: 10 }, CALL));
  if (exec.value.exitCode !== 0) throw new Error(`true ended with exit code ${exec.value.exitCode}`);
  const stop = await timed(() => client.stopPodSandbox({ podSandboxId }, CALL));
  await client.removePodSandbox({ podSandboxId }, CALL);
  record('cri.run', run.ms);
  record('cri.create', create.ms);
  record('cri.start', start.ms);
  record('cri.up', run.ms + create.ms + start.ms);
  record('cri.exec', exec.ms);
  record('cri.stop', stop.ms);
}

async function measureParallel(bench: Bench, client: CriClient): Promise<void> {
  const rounds = Math.max(2, Math.ceil(bench.samples / 2));
  for (let index = 0; index < rounds; index += 1) {
    const perLane = 3;
    const { ms } = await timed(() =>
      Promise.all(
        Array.from({ length: PARALLEL }, async (_, lane) => {
          for (let turn = 0; turn < perLane; turn += 1)
            await cyclePod(client, `lane-${index}-${lane}-${turn}`, () => {});
        }),
      ),
    );
    bench.record('cri.parallel', (PARALLEL * perLane * 1000) / ms);
  }
}
