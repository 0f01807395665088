import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCa, issueCertificate, validityFrom } from '../../pki/issue.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { EtcdClient } from '../../runtime/controlplane/store/etcd-client.ts';

const ETCD = '/usr/bin/etcd';
const HOUR_MS = 3_600_000;

/** Why no etcd can be started here, or false: the value of tap's `skip`. */
export const etcdObstacle: string | false = existsSync(ETCD) ? false : 'needs apt-get install etcd-server';

/** PEM texts and the files that hold them. */
export interface EtcdFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** A member, which can be killed and started again over its data. */
export interface EtcdMember {
  readonly endpoint: string;
  readonly pid: () => number;
  readonly kill: (signal?: NodeJS.Signals) => Promise<void>;
  readonly start: () => Promise<void>;
}

/** An etcd of any number of members that asks clients for a certificate. */
export interface TestEtcd {
  readonly endpoints: readonly string[];
  readonly members: readonly EtcdMember[];
  readonly client: EtcdFiles;
  /** Writes certificates of a new CA over all files; members take them when they are started again. */
  readonly renew: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface TestEtcdOptions {
  readonly members?: number;
  /** Where the members listen; default 127.0.0.1. */
  readonly address?: string;
  /** Ports are taken from here on; default: any that are free. */
  readonly firstPort?: number;
  /** How a member is started, where it is not beside the caller. */
  readonly spawn?: (argv: readonly string[]) => ChildProcess;
}

/** Starts Debian's etcd with certificates of its own in a temporary directory. */
export async function startEtcd(options: TestEtcdOptions = {}): Promise<TestEtcd> {
  const { members: count = 1, address = '127.0.0.1' } = options;
  const directory = await mkdtemp(join(tmpdir(), 'tkadm-etcd-'));
  const client = await writeCertificates(directory, address);
  const ports = await choosePorts(count * 2, options.firstPort);
  const urls = Array.from({ length: count }, (_, i) => ({
    name: `m${i}`,
    client: `https://${address}:${ports[2 * i]}`,
    peer: `http://${address}:${ports[2 * i + 1]}`,
  }));
  const initialCluster = urls.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const members = urls.map((row) =>
    createMember({ ...row, directory, initialCluster, spawn: options.spawn ?? spawnHere }),
  );
  await Promise.all(members.map((member) => member.start()));
  const endpoints = urls.map((row) => row.client);
  // Where they are started elsewhere they may be out of reach.
  if (!options.spawn) await awaitAnswer(endpoints, client);
  return {
    endpoints,
    members,
    client,
    async renew() {
      await writeCertificates(directory, address);
    },
    async close() {
      await Promise.all(members.map((member) => member.kill('SIGKILL')));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function spawnHere([program, ...argv]: readonly string[]): ChildProcess {
  return spawn(program!, argv, { stdio: 'ignore' });
}

function createMember(row: {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
  readonly directory: string;
  readonly initialCluster: string;
  readonly spawn: NonNullable<TestEtcdOptions['spawn']>;
}): EtcdMember {
  const file = (name: string) => join(row.directory, name);
  const flags = {
    name: row.name,
    'data-dir': file(`data-${row.name}`),
    'listen-client-urls': row.client,
    'advertise-client-urls': row.client,
    'listen-peer-urls': row.peer,
    'initial-advertise-peer-urls': row.peer,
    'initial-cluster': row.initialCluster,
    'cert-file': file('server.crt'),
    'key-file': file('server.key'),
    'trusted-ca-file': file('ca.crt'),
    'client-cert-auth': 'true',
    'log-level': 'error',
    // Elections fit a machine that others use too.
    'heartbeat-interval': '100',
    'election-timeout': '1000',
  };
  const argv = [ETCD, ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)];
  let child: ChildProcess | undefined;
  return {
    endpoint: row.client,
    pid: () => child!.pid!,
    async start() {
      await mkdir(flags['data-dir'], { recursive: true, mode: 0o700 });
      child = row.spawn(argv);
    },
    async kill(signal = 'SIGKILL') {
      const victim = child;
      child = undefined;
      if (!victim || victim.exitCode !== null || victim.signalCode !== null) return;
      const exited = new Promise((resolve) => victim.once('exit', resolve));
      victim.kill(signal);
      await exited;
    },
  };
}

async function writeCertificates(directory: string, address: string): Promise<EtcdFiles> {
  const period = validityFrom(new Date(), 24 * HOUR_MS);
  const algorithm = 'ECDSA-P256' as const;
  const ca = await createCa({ ...period, commonName: 'etcd-ca', algorithm });
  const issue = (commonName: string, usage: 'server auth' | 'client auth') =>
    issueCertificate({
      ...period,
      ca,
      algorithm,
      spec: { commonName, organizations: [], usages: [usage] },
      subjectAltNames: { dnsNames: ['localhost'], ipAddresses: [address] },
    });
  const [server, client] = [await issue('etcd', 'server auth'), await issue('apiserver', 'client auth')];
  const texts = {
    'ca.crt': ca.certPem,
    'server.crt': server.certPem,
    'server.key': server.keyPem,
    'client.crt': client.certPem,
    'client.key': client.keyPem,
  };
  for (const [name, text] of Object.entries(texts)) {
    await writeFile(join(directory, name), text, { mode: 0o600 });
  }
  return {
    ca: ca.certPem,
    cert: client.certPem,
    key: client.keyPem,
    caFile: join(directory, 'ca.crt'),
    certFile: join(directory, 'client.crt'),
    keyFile: join(directory, 'client.key'),
  };
}

async function awaitAnswer(endpoints: readonly string[], { ca, cert, key }: EtcdFiles): Promise<void> {
  const client = new EtcdClient({ endpoints, credentials: { ca, cert, key }, attemptTimeoutMs: 1000 });
  try {
    await waitFor(() => client.call('range', { key: Buffer.from('a') }), {
      subject: 'etcd',
      timeoutMs: 30_000,
    });
  } finally {
    client.close();
  }
}

async function choosePorts(count: number, first: number | undefined): Promise<readonly number[]> {
  if (first !== undefined) return Array.from({ length: count }, (_, i) => first + i);
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer();
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { readonly port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
