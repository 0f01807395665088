import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { ResultPromise } from 'execa';
import { type CommandOutput, type LabExecOptions, type LabHost, REPOSITORY, signalEntered } from './lab.ts';

/** The built command line of the clone under test. */
export const TKADM = join(REPOSITORY, 'dist/tkadm.js');

const KUBECONFIG = '/etc/kubernetes/admin.conf';

/** Programs that the hosts need, with the Debian package of each. */
const PROGRAMS = {
  sshd: 'openssh-server',
  nft: 'nftables',
  ip: 'iproute2',
  unshare: 'util-linux',
  script: 'bsdutils',
  curl: 'curl',
  kubectl: 'kubernetes-client',
  ps: 'procps',
} as const;

/** Why no hosts can be made here, or false: the value of tap's `skip`. */
export function labObstacle(programs: Readonly<Record<string, string>> = {}): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(TKADM)) return 'needs dist/tkadm.js: node build.mjs';
  const path = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const absent = Object.entries({ ...PROGRAMS, ...programs })
    .filter(([program]) => !path.some((directory) => existsSync(join(directory, program))))
    .map(([, debianPackage]) => debianPackage);
  return absent.length > 0 && `needs apt-get install ${absent.join(' ')}`;
}

/** A machine, be it of namespaces or of QEMU, that runs commands. */
export type CommandHost = Pick<LabHost, 'exec'>;

/** A finished command with how long it took. */
export interface TimedOutput extends CommandOutput {
  readonly seconds: number;
  /** Both streams, for messages. */
  readonly all: string;
}

/** Pids, on the host, of processes whose command line matches an extended regular expression. */
export async function findPids(host: CommandHost, pattern: string): Promise<readonly number[]> {
  const script = `for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -Eq -- "$1" && echo \${p#/proc/}; done`;
  const { stdout } = await host.exec(['sh', '-c', script, 'find-pids', pattern]);
  return stdout.split('\n').filter(Boolean).map(Number);
}

/** Pattern of a component's own process, be it renamed or started by its script. */
export function componentPattern(name: string): string {
  return `^(/usr/bin/node /usr/local/bin/)?${name}( |$)`;
}

/** Runs tkadm on a host; a command that hangs ends with exit code 124 after two minutes. */
export async function tkadm(
  host: CommandHost,
  args: readonly string[],
  options: LabExecOptions = {},
): Promise<TimedOutput> {
  return timed(host.exec([process.execPath, TKADM, ...args], { timeoutMs: 120_000, ...options }));
}

/** Runs kubectl on a host as the cluster's administrator. */
export async function kubectl(
  host: CommandHost,
  args: readonly string[],
  options: LabExecOptions = {},
): Promise<TimedOutput> {
  return timed(
    host.exec(['kubectl', ...args], {
      timeoutMs: 60_000,
      ...options,
      env: { KUBECONFIG, ...options.env },
    }),
  );
}

/** Standard output of a kubectl command. @throws when it fails, with what it said */
export async function kubectlText(
  host: CommandHost,
  args: readonly string[],
  options: LabExecOptions = {},
): Promise<string> {
  const result = await kubectl(host, args, options);
  if (result.exitCode === 0) return result.stdout;
  throw new Error(`kubectl ${args.join(' ')}: exit code ${result.exitCode}: ${result.all}`);
}

/** Objects as `kubectl get -o json` gives them. */
export async function getJson<T>(host: CommandHost, args: readonly string[]): Promise<T> {
  return JSON.parse(await kubectlText(host, ['get', ...args, '-o', 'json'])) as T;
}

/** Names of the bootstrap tokens' Secrets, in their order. */
export async function listTokens(host: CommandHost): Promise<readonly string[]> {
  const text = await kubectlText(host, ['get', 'secrets', '-n', 'kube-system', '-o', 'name']);
  return text.split('\n').filter((line) => line.startsWith('secret/bootstrap-token-'));
}

/** Creates objects from text. */
export async function apply(host: CommandHost, manifest: string): Promise<string> {
  return kubectlText(host, ['apply', '-f', '-'], { input: manifest });
}

export interface PodFacts {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly namespace: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string }[];
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly nodeName: string; readonly containers: readonly { readonly image: string }[] };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly ready: boolean;
      readonly restartCount: number;
      readonly containerID?: string;
      readonly imageID?: string;
    }[];
  };
}

/** Pods, by `kubectl get pods` arguments such as `-n`, `kube-system`. */
export async function getPods(host: CommandHost, args: readonly string[] = []): Promise<readonly PodFacts[]> {
  const { items } = await getJson<{ items: readonly PodFacts[] }>(host, ['pods', ...args]);
  return items;
}

/** True when every container of the pod is ready and it is not on its way out. */
export function isReady(pod: PodFacts): boolean {
  const hasCondition = pod.status.conditions?.some((row) => row.type === 'Ready' && row.status === 'True');
  return hasCondition === true && pod.metadata.deletionTimestamp === undefined;
}

/** Pods once there are `count` and all are ready. */
export async function readyPods(
  host: CommandHost,
  args: readonly string[],
  { count, timeoutMs }: { readonly count: number; readonly timeoutMs: number },
): Promise<readonly PodFacts[]> {
  return eventually(
    `${count} ready pods of "${args.join(' ')}"`,
    timeoutMs,
    async () => {
      const pods = await getPods(host, args);
      return pods.length === count && pods.every(isReady) && pods;
    },
    async () => (await kubectl(host, ['get', 'pods,events', ...args, '-o', 'wide'])).all,
  );
}

/** Names of the nodes that are Ready. */
export async function readyNodes(host: CommandHost): Promise<readonly string[]> {
  interface Node {
    readonly metadata: { readonly name: string };
    readonly status: { readonly conditions?: readonly { type: string; status: string }[] };
  }
  const { items } = await getJson<{ items: readonly Node[] }>(host, ['nodes']);
  return items
    .filter((node) => node.status.conditions?.some((row) => row.type === 'Ready' && row.status === 'True'))
    .map((node) => node.metadata.name)
    .sort();
}

/** How many times the usual duration is waited: for machines that are slow or busy. */
const PATIENCE = 3;

/**
 * What `probe` returns once it is neither undefined nor false; an error counts as not yet.
 * @throws when the time is over, with the last error and what `describe` tells
 */
export async function eventually<T>(
  subject: string,
  usualMs: number,
  probe: () => Promise<T | undefined | false>,
  describe?: () => Promise<string>,
): Promise<T> {
  const timeoutMs = usualMs * PATIENCE;
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      const state = describe ? await describe().catch(String) : '';
      throw new Error(`not reached within ${timeoutMs} ms: ${subject}\n${last ?? ''}\n${state}`);
    }
    await sleep(200);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A running command whose output so far can be looked at. */
export interface Follower {
  readonly text: () => string;
  readonly stop: () => Promise<void>;
  /** Resolves to the exit code. */
  readonly exited: Promise<number>;
}

/** Starts kubectl (or another program, by `argv`) on a host and collects what it prints. */
export function follow(host: LabHost, argv: readonly string[]): Follower {
  const child: ResultPromise = host.spawn(argv, { env: { KUBECONFIG } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      text += chunk;
    });
  }
  const exited = child.then((result) => result.exitCode ?? 137);
  return {
    text: () => text,
    exited,
    stop: async () => {
      await signalEntered(child, 'SIGTERM');
      await exited;
    },
  };
}

export interface JoinArguments {
  readonly endpoint: string;
  readonly token: string;
  readonly pin: string;
}

/** The parts of the join command that `tkadm init` prints. */
export function parseJoinCommand(text: string): JoinArguments {
  const match = /tkadm join (\S+:\d+) --token (\S+) \\?\s*--discovery-token-ca-cert-hash (\S+)/.exec(text);
  if (!match) throw new Error(`no join command in: ${text}`);
  return { endpoint: match[1] ?? '', token: match[2] ?? '', pin: match[3] ?? '' };
}

/** `tkadm init --fix`, which must succeed; returns the arguments of its join command. */
export async function initCluster(host: CommandHost, args: readonly string[] = []): Promise<JoinArguments> {
  const result = await tkadm(host, ['init', '--fix', ...args]);
  if (result.exitCode !== 0) throw new Error(`init: exit code ${result.exitCode}\n${result.all}`);
  return parseJoinCommand(result.stdout);
}

/** kubeadm's form of join on the machine itself, which must succeed. */
export async function joinCluster(host: CommandHost, join: JoinArguments): Promise<void> {
  const result = await tkadm(host, ['join', ...joinArguments(join), '--fix']);
  if (result.exitCode !== 0) throw new Error(`join: exit code ${result.exitCode}\n${result.all}`);
}

/** Address and flags of a join command. */
export function joinArguments({ endpoint, token, pin }: JoinArguments): readonly string[] {
  return [endpoint, '--token', token, '--discovery-token-ca-cert-hash', pin];
}

async function timed(command: Promise<CommandOutput>): Promise<TimedOutput> {
  const startedAt = performance.now();
  const result = await command;
  return {
    ...result,
    all: `${result.stdout}${result.stderr}`,
    seconds: (performance.now() - startedAt) / 1000,
  };
}
