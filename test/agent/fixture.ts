import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { runAgent } from '../../runtime/agent/agent.ts';
import { AGENT_FLAGS } from '../../runtime/agent/options.ts';
import { listMounts, unmount } from '../../runtime/agent/volumes/mounts.ts';
import { parseFlags } from '../../runtime/base/flags.ts';
import { createLogger, SILENT_LOGGER } from '../../runtime/base/log.ts';
import { sleep } from '../../runtime/base/time.ts';
import { type CriFixture, openCriFixture } from '../cri/fixture.ts';

export { skipReason } from '../cri/fixture.ts';

export interface AgentFixture {
  readonly directory: string;
  readonly manifests: string;
  readonly nodeName: string;
  readonly cri: CriFixture;
  readonly kubeletPort: number;
  readonly healthzPort: number;
  /** Ends the agent; pods go on. */
  stopAgent(): Promise<void>;
  /** Starts it again over the same files. */
  startAgent(): Promise<void>;
  close(): Promise<void>;
}

export interface AgentFixtureOptions {
  /** More flags, for example --kubeconfig. */
  readonly flags?: (directory: string) => readonly string[];
  readonly nodeName?: string;
  /** Default: 127.0.0.1 */
  readonly nodeIp?: string;
  /** More lines of the KubeletConfiguration. */
  readonly config?: string;
}

/** A real agent over a real runtime, in directories, sockets and ports of their own. */
export async function openAgentFixture(options: AgentFixtureOptions = {}): Promise<AgentFixture> {
  const cri = await openCriFixture();
  const directory = mkdtempSync('/tmp/tkadm-agent-');
  const manifests = join(directory, 'manifests');
  mkdirSync(manifests);
  const [kubeletPort, healthzPort] = await Promise.all([freePort(), freePort()]);
  const nodeName = options.nodeName ?? `node-${directory.slice(-6).toLowerCase()}`;
  writeFileSync(
    join(directory, 'config.yaml'),
    `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: ${manifests}
address: 127.0.0.1
port: ${kubeletPort}
healthzPort: ${healthzPort}
podLogsDir: ${directory}/logs
containerRuntimeEndpoint: unix://${cri.directory}/cri.sock
fileCheckFrequency: 1s
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
${options.config ?? ''}
`,
  );
  const argv = [
    ...[`--config=${directory}/config.yaml`, `--root-dir=${directory}/root`, `--cert-dir=${directory}/pki`],
    ...[
      `--hostname-override=${nodeName}`,
      `--node-ip=${options.nodeIp ?? '127.0.0.1'}`,
      ...(options.flags?.(directory) ?? []),
    ],
  ];
  let controller = new AbortController();
  let running: Promise<void> | undefined;
  const fixture: AgentFixture = {
    directory,
    manifests,
    nodeName,
    cri,
    kubeletPort,
    healthzPort,
    async stopAgent() {
      controller.abort();
      await running;
    },
    async startAgent() {
      controller = new AbortController();
      running = runAgent({
        flags: parseFlags(AGENT_FLAGS, argv),
        log: createTestLogger(),
        now: () => Date.now(),
        random: () => Math.random(),
        rssBytes: () => process.memoryUsage.rss(),
        signal: controller.signal,
        cniDirectory: join(cri.directory, 'net.d'),
        containerLogsDir: join(directory, 'containers'),
        hasRoutes: false,
      });
      await sleep(0);
    },
    async close() {
      await fixture.stopAgent();
      await cri.close();
      for (const path of await listMounts(directory)) await unmount(path);
      removeEmptyCgroups(join(directory, 'root/pods'));
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await fixture.startAgent();
  return fixture;
}

function createTestLogger() {
  if (!process.env['TKADM_TEST_LOG']) return SILENT_LOGGER;
  const write = (line: string) => void process.stderr.write(line);
  return createLogger({ name: 'agent', level: 'debug', write, now: () => new Date() });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** Removes the cgroups of this test's pods, and the shared parents as far as nobody else uses them. */
function removeEmptyCgroups(podsDirectory: string): void {
  const uids = existsSync(podsDirectory) ? readdirSync(podsDirectory) : [];
  const parents = ['kubepods/besteffort', 'kubepods/burstable', 'kubepods'];
  const paths = [...parents.flatMap((parent) => uids.map((uid) => `${parent}/pod${uid}`)), ...parents];
  for (const controller of readdirSync('/sys/fs/cgroup')) {
    for (const path of paths) {
      try {
        rmdirSync(join('/sys/fs/cgroup', controller, path));
      } catch {
        // In use, or never made.
      }
    }
  }
}
