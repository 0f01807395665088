import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../../runtime/base/time.ts';
import { criErrorCode } from '../../runtime/cri/client.ts';
import type { CriRequestInit, CriResponse } from '../../runtime/cri/rpcs.ts';
import type { CriPeer } from './containerd.ts';

/** "step.field" → what the runtime answered, without what differs from run to run. */
export type Observations = ReadonlyMap<string, string>;

/** Prints lines of 5 and of 20,000 characters on both outputs, the last one without an end. */
const PRINTER = 'echo out; echo err >&2; head -c 20000 /dev/zero | tr "\\0" x; echo; printf end';
/** Takes more memory than the container may have. */
const HUNGRY = 'dd if=/dev/zero of=/dev/null bs=256M count=1';
const MEMORY_LIMIT = 32 << 20;
const NO_SUCH_ID = 'f'.repeat(64);

/** Plays the scenario and notes all answers. */
export async function observe(peer: CriPeer): Promise<Observations> {
  const scenario = new Scenario(peer);
  await scenario.play();
  return scenario.observations;
}

class Scenario {
  readonly observations = new Map<string, string>();
  readonly #peer: CriPeer;
  readonly #names = new Map<string, string>();

  constructor(peer: CriPeer) {
    this.#peer = peer;
    this.#names.set(peer.directory, 'DIRECTORY').set(peer.cgroupParent, '/PARENT');
  }

  async play(): Promise<void> {
    await this.#runtime();
    await this.#images();
    const sandbox = await this.#sandbox();
    await this.#lifecycle(sandbox);
    await this.#execs(sandbox);
    await this.#exits(sandbox);
    await this.#refusals(sandbox);
    await this.#end(sandbox);
  }

  async #runtime(): Promise<void> {
    const { client } = this.#peer;
    const { runtimeApiVersion } = await client.version({});
    this.#note('version', { runtimeApiVersion });
    const { status } = await client.status({});
    this.#note(
      'status',
      status?.conditions.map(({ type, status: ok }) => [type, ok]),
    );
  }

  async #images(): Promise<void> {
    const { client } = this.#peer;
    const status = async (image: string) => (await client.imageStatus({ image: { image } })).image;
    const busybox = await status('busybox');
    this.#names.set(busybox?.id ?? '', 'IMAGE').set(busybox?.repoDigests[0] ?? '', 'DIGEST');
    this.#note('image', { ...busybox, size: sign(busybox?.size) });
    this.#note('image.by-id', (await status(busybox?.id ?? ''))?.id);
    this.#note('image.missing', await status('no/such:1'));
    const filtered = await client.listImages({ filter: { image: { image: 'busybox' } } });
    this.#note(
      'images.filtered',
      filtered.images.map(({ id }) => id),
    );
    await this.#call('image.remove-missing', () => client.removeImage({ image: { image: 'no/such:1' } }));
    await this.#call('pull.bad-name', () => client.pullImage({ image: { image: 'UPPER/case' } }));
    await this.#call('pull.no-registry', () => client.pullImage({ image: { image: '127.0.0.1:9/x/y:1' } }));
    this.#note('image-fs', (await client.imageFsInfo({})).imageFilesystems.length);
  }

  #config() {
    const { cgroupParent, directory } = this.#peer;
    return {
      metadata: { name: 'pod', uid: 'uid-1', namespace: 'default', attempt: 2 },
      hostname: 'pod-host',
      logDirectory: join(directory, 'logs'),
      labels: { app: 'web' },
      annotations: { note: 'kept' },
      dnsConfig: { servers: ['10.96.0.10'], searches: ['a.b'], options: ['ndots:5'] },
      linux: {
        cgroupParent,
        sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
        securityContext: { namespaceOptions: { pid: 'CONTAINER' } },
      },
    } as const satisfies CriRequestInit<'runPodSandbox'>['config'];
  }

  async #sandbox(): Promise<string> {
    const { client } = this.#peer;
    const config = this.#config();
    const { podSandboxId } = await client.runPodSandbox({ config });
    this.#names.set(podSandboxId, 'SANDBOX');
    await this.#call('sandbox.twice', () => client.runPodSandbox({ config }));
    await this.#call('sandbox.no-metadata', () => client.runPodSandbox({ config: { hostname: 'x' } }));
    const handler = { config: { ...config, metadata: { ...config.metadata, attempt: 9 } } };
    await this.#call('sandbox.no-handler', () =>
      client.runPodSandbox({ ...handler, runtimeHandler: 'none' }),
    );
    const { status } = await client.podSandboxStatus({ podSandboxId });
    const { network, createdAt, ...rest } = status!;
    this.#note('sandbox.status', {
      ...rest,
      createdAt: sign(createdAt),
      hasIp: /^10\.\d/.test(network?.ip ?? ''),
    });
    const filters = {
      id: { id: podSandboxId },
      prefix: { id: podSandboxId.slice(0, 12) },
      label: { labelSelector: { app: 'web' } },
      'other-label': { labelSelector: { app: 'db' } },
      ready: { state: { state: 'SANDBOX_READY' } },
      'not-ready': { state: { state: 'SANDBOX_NOTREADY' } },
    } as const;
    for (const [name, filter] of Object.entries(filters)) {
      const { items } = await client.listPodSandbox({ filter });
      this.#note(
        `sandbox.list.${name}`,
        items.map(({ id, metadata, state, labels }) => ({ id, metadata, state, labels })),
      );
    }
    await this.#call('sandbox.status-of-none', () => client.podSandboxStatus({ podSandboxId: NO_SUCH_ID }));
    await this.#call('sandbox.stop-of-none', () => client.stopPodSandbox({ podSandboxId: NO_SUCH_ID }));
    await this.#call('sandbox.remove-of-none', () => client.removePodSandbox({ podSandboxId: NO_SUCH_ID }));
    return podSandboxId;
  }

  #create(podSandboxId: string, config: CriRequestInit<'createContainer'>['config']) {
    return this.#peer.client.createContainer({
      podSandboxId,
      config: { image: { image: 'busybox' }, logPath: `${config?.metadata?.name}.log`, ...config },
      sandboxConfig: this.#config(),
    });
  }

  async #run(podSandboxId: string, name: string, config: CriRequestInit<'createContainer'>['config']) {
    const { containerId } = await this.#create(podSandboxId, { metadata: { name }, ...config });
    this.#names.set(containerId, `CONTAINER ${name}`);
    await this.#peer.client.startContainer({ containerId });
    return containerId;
  }

  async #lifecycle(podSandboxId: string): Promise<void> {
    const { client } = this.#peer;
    const config = {
      metadata: { name: 'main', attempt: 1 },
      command: ['sh', '-c', 'sleep 1000'],
      args: ['arg'],
      workingDir: '/tmp',
      envs: [{ key: 'ME', value: 'you' }],
      labels: { tier: 'front' },
      annotations: { comment: 'yes' },
      mounts: [{ containerPath: '/logs', hostPath: this.#peer.directory, readonly: true }],
      linux: {
        resources: { cpuShares: 300, cpuQuota: 50_000, cpuPeriod: 100_000, memoryLimitInBytes: MEMORY_LIMIT },
        securityContext: { supplementalGroups: [4], noNewPrivs: true },
      },
    };
    const { containerId } = await this.#create(podSandboxId, config);
    this.#names.set(containerId, 'CONTAINER');
    await this.#status('container.created', containerId);
    await this.#call('container.exec-before-start', () => client.execSync({ containerId, cmd: ['true'] }));
    await client.startContainer({ containerId });
    await this.#status('container.running', containerId);
    await this.#call('container.twice', () => this.#create(podSandboxId, config));
    await this.#call('container.start-twice', () => client.startContainer({ containerId }));
    const { containers } = await client.listContainers({ filter: { podSandboxId } });
    this.#note(
      'container.list',
      containers.map(({ createdAt: _, ...rest }) => rest),
    );
    await this.#statistics(containerId, podSandboxId);
    const linux = { cpuShares: 200, memoryLimitInBytes: 2 * MEMORY_LIMIT };
    await this.#call('container.update', () => client.updateContainerResources({ containerId, linux }));
    await this.#status('container.updated', containerId);
    await client.stopContainer({ containerId, timeout: 0 });
    await this.#status('container.stopped', containerId);
    await this.#call('container.stop-again', () => client.stopContainer({ containerId, timeout: 0 }));
    await this.#call('container.start-stopped', () => client.startContainer({ containerId }));
    await this.#call('container.exec-stopped', () => client.execSync({ containerId, cmd: ['true'] }));
    await this.#call('container.log-stopped', () => client.reopenContainerLog({ containerId }));
    await this.#call('container.update-stopped', () =>
      client.updateContainerResources({ containerId, linux }),
    );
    await client.removeContainer({ containerId });
    await this.#call('container.remove-again', () => client.removeContainer({ containerId }));
    await this.#call('container.status-removed', () => client.containerStatus({ containerId }));
  }

  async #statistics(containerId: string, podSandboxId: string): Promise<void> {
    const { client } = this.#peer;
    const { stats } = await client.containerStats({ containerId });
    const { cpu, memory, writableLayer, attributes } = stats ?? {};
    this.#note('stats', {
      attributes,
      cpu: sign(cpu?.usageCoreNanoSeconds?.value),
      workingSet: sign(memory?.workingSetBytes?.value),
      usage: sign(memory?.usageBytes?.value),
      rss: sign(memory?.rssBytes?.value),
      pageFaults: sign(memory?.pageFaults?.value),
      available: sign(memory?.availableBytes?.value),
      layer: writableLayer !== undefined,
    });
    const listed = await client.listContainerStats({ filter: { podSandboxId } });
    this.#note(
      'stats.list',
      listed.stats.map((one) => one.attributes?.id),
    );
    await this.#call('stats.of-none', () => client.containerStats({ containerId: NO_SUCH_ID }));
    const pod = (await client.podSandboxStats({ podSandboxId })).stats?.linux;
    this.#note('stats.pod', {
      cpu: sign(pod?.cpu?.usageCoreNanoSeconds?.value),
      memory: sign(pod?.memory?.usageBytes?.value),
      interface: pod?.network?.defaultInterface?.name,
      processes: sign(pod?.process?.processCount?.value),
      containers: pod?.containers.length,
    });
  }

  async #execs(podSandboxId: string): Promise<void> {
    const { client } = this.#peer;
    const containerId = await this.#run(podSandboxId, 'execs', {
      command: ['sleep', '1000'],
      envs: [{ key: 'ME', value: 'you' }],
      linux: { securityContext: { supplementalGroups: [4] } },
    });
    const commands = {
      true: ['true'],
      code: ['sh', '-c', 'echo out; echo err >&2; exit 7'],
      signal: ['sh', '-c', 'kill -9 $$'],
      missing: ['/no/such'],
      identity: ['sh', '-c', 'id; hostname; pwd; echo $HOME $ME $FROM_IMAGE $PATH'],
      resolver: ['cat', '/etc/resolv.conf'],
      capabilities: ['grep', '-E', '^(Cap|Seccomp:|NoNewPrivs)', '/proc/self/status'],
      network: ['sh', '-c', 'ip -o -4 addr | grep -c " lo .*127.0.0.1/8"; ip -o -4 addr | grep -c eth0'],
      sysctl: ['cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start'],
      mounts: [
        'sh',
        '-c',
        'for p in /proc /sys /dev /dev/pts /dev/shm /dev/mqueue /sys/fs/cgroup; do grep -c " $p " /proc/mounts; done',
      ],
      masked: ['sh', '-c', 'ls /sys/firmware | wc -l; echo 1 > /proc/sys/vm/swappiness; echo $?'],
      pid1: ['cat', '/proc/1/cmdline'],
    };
    for (const [name, cmd] of Object.entries(commands)) {
      await this.#call(`exec.${name}`, async () => {
        const { stdout, stderr, exitCode } = await client.execSync({ containerId, cmd, timeout: 20 });
        return { stdout: textOf(stdout), stderr: textOf(stderr), exitCode };
      });
    }
    await this.#call('exec.timeout', () =>
      client.execSync({ containerId, cmd: ['sleep', '1000'], timeout: 1 }),
    );
    await this.#call('exec.no-command', () => client.execSync({ containerId, cmd: [] }));
    await this.#call('exec.of-none', () => client.execSync({ containerId: NO_SUCH_ID, cmd: ['true'] }));
    const url = async (answer: Promise<{ readonly url: string }>) =>
      /^http:.*\/(\w+)\/[^/]+$/.exec((await answer).url)?.[1];
    await this.#call('exec.url', () => url(client.exec({ containerId, cmd: ['sh'], stdout: true })));
    await this.#call('exec.no-stream', () => url(client.exec({ containerId, cmd: ['sh'] })));
    await this.#call('attach.url', () => url(client.attach({ containerId, stdout: true })));
    await this.#call('forward.url', () => url(client.portForward({ podSandboxId, port: [80] })));
    await client.stopContainer({ containerId, timeout: 0 });
  }

  async #exits(podSandboxId: string): Promise<void> {
    const { client } = this.#peer;
    const shell = (text: string) => ({ command: ['sh', '-c', text] });
    const limit = { memoryLimitInBytes: MEMORY_LIMIT, memorySwapLimitInBytes: MEMORY_LIMIT };
    const limited = { linux: { resources: limit } };
    const cases = {
      completed: shell('true'),
      failed: shell('exit 3'),
      killed: shell('kill -9 $$'),
      oom: { command: HUNGRY.split(' '), ...limited },
      printer: shell(PRINTER),
    };
    for (const [name, config] of Object.entries(cases)) {
      const containerId = await this.#run(podSandboxId, name, config);
      const status = await waitFor(
        async () => {
          const found = (await client.containerStatus({ containerId })).status;
          return found?.state === 'CONTAINER_EXITED' ? found : undefined;
        },
        { subject: name, timeoutMs: 30_000, intervalMs: 20 },
      );
      this.#noteStatus(`exit.${name}`, status);
    }
    this.#note('log', readLog(join(this.#peer.directory, 'logs/printer.log')));
    const { containerId } = await this.#create(podSandboxId, {
      metadata: { name: 'lost' },
      command: ['/no/such'],
    });
    this.#names.set(containerId, 'CONTAINER lost');
    await this.#call('exit.lost', () => client.startContainer({ containerId }));
    await this.#status('exit.lost', containerId);
  }

  async #refusals(podSandboxId: string): Promise<void> {
    const { client } = this.#peer;
    const metadata = { name: 'refused' };
    const command = ['true'];
    const context = (securityContext: object) => ({ metadata, command, linux: { securityContext } });
    const cases = {
      'no-image': { metadata, command, image: { image: 'no/such:1' } },
      'no-metadata': { command },
      'group-without-user': context({ runAsGroup: { value: 5 } }),
      'privileged-in-unprivileged': context({ privileged: true }),
      'unknown-user': context({ runAsUsername: 'nobody-here' }),
      'unknown-capability': context({ capabilities: { addCapabilities: ['FLY'] } }),
      'missing-seccomp': context({ seccomp: { profileType: 'Localhost', localhostRef: '/no/such.json' } }),
      'no-such-device': {
        metadata,
        command,
        devices: [{ containerPath: '/dev/x', hostPath: '/dev/no-such', permissions: 'rw' }],
      },
    };
    for (const [name, config] of Object.entries(cases)) {
      await this.#call(`create.${name}`, async () => {
        const { containerId } = await this.#create(podSandboxId, config);
        await client.removeContainer({ containerId });
      });
    }
    await this.#call('create.no-sandbox', () => this.#create(NO_SUCH_ID, { metadata, command }));
    await this.#call('container.stop-of-none', () => client.stopContainer({ containerId: NO_SUCH_ID }));
    await this.#call('container.start-of-none', () => client.startContainer({ containerId: NO_SUCH_ID }));
    await this.#call('container.log-of-none', () => client.reopenContainerLog({ containerId: NO_SUCH_ID }));
  }

  async #end(podSandboxId: string): Promise<void> {
    const { client } = this.#peer;
    const containerId = await this.#run(podSandboxId, 'last', { command: ['sleep', '1000'] });
    await client.stopPodSandbox({ podSandboxId });
    await this.#status('end.container', containerId);
    const { status } = await client.podSandboxStatus({ podSandboxId });
    this.#note('end.sandbox', { state: status?.state, ip: status?.network?.ip });
    await this.#call('end.create', () =>
      this.#create(podSandboxId, { metadata: { name: 'x' }, command: ['true'] }),
    );
    await this.#call('end.stop-again', () => client.stopPodSandbox({ podSandboxId }));
    await client.removePodSandbox({ podSandboxId });
    const { containers } = await client.listContainers({ filter: { podSandboxId } });
    this.#note('end.containers', containers);
    await this.#call('end.remove-again', () => client.removePodSandbox({ podSandboxId }));
    await this.#call('end.status', () => client.podSandboxStatus({ podSandboxId }));
  }

  async #status(step: string, containerId: string): Promise<void> {
    const { status } = await this.#peer.client.containerStatus({ containerId });
    this.#noteStatus(step, status);
  }

  #noteStatus(step: string, status: CriResponse<'containerStatus'>['status']): void {
    const { createdAt, startedAt, finishedAt, ...rest } = status!;
    this.#note(step, { ...rest, times: [createdAt, startedAt, finishedAt].map(sign) });
  }

  async #call(step: string, call: () => Promise<unknown>): Promise<void> {
    try {
      this.#note(step, (await call()) ?? 'ok');
    } catch (error) {
      const code = criErrorCode(error);
      if (code === undefined) throw error;
      this.#note(step, `error ${code}`);
    }
  }

  #note(step: string, value: unknown): void {
    if (
      typeof value === 'object' &&
      value !== null &&
      !Array.isArray(value) &&
      Object.keys(value).length > 0
    ) {
      for (const [name, part] of Object.entries(value)) this.#note(`${step}.${name}`, part);
      return;
    }
    let text = JSON.stringify(value) ?? 'nothing';
    for (const [from, to] of this.#names) if (from !== '') text = text.replaceAll(from, to);
    this.observations.set(step, text);
  }
}

function sign(value: number | bigint | undefined): string {
  if (value === undefined) return 'nothing';
  return value > 0 ? '>0' : String(value);
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** Stream, tag and length of each record of a log, each stream by itself: their order is no one's promise. */
function readLog(path: string): readonly string[] {
  const records = readFileSync(path, 'utf8').trimEnd().split('\n');
  return records
    .map((line) => /^\d{4}-\d\d-\d\dT[\d:]+\.\d+\S+ (stdout|stderr) ([FP]) (.*)$/.exec(line))
    .map((match) => `${match?.[1]} ${match?.[2]} ${match?.[3]?.length}`)
    .toSorted((a, b) => (a.slice(0, 6) < b.slice(0, 6) ? -1 : a.slice(0, 6) > b.slice(0, 6) ? 1 : 0));
}
