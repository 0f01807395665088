import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { type ApiError, isApiError } from '../../../../runtime/api/api-error.ts';
import { ApiClient } from '../../../../runtime/api/client.ts';
import { waitFor } from '../../../../runtime/base/time.ts';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, '../../../../runtime/controlplane/apiserver/main.ts');

/** Certificates that the server under test knows: name → subject, subjectAltName and use. */
const CERTIFICATES = [
  ['apiserver', '/CN=kube-apiserver', 'serverAuth', 'DNS:localhost,IP:127.0.0.1'],
  ['admin', '/O=system:masters/CN=kubernetes-admin', 'clientAuth', undefined],
  ['jane', '/O=devs/CN=jane', 'clientAuth', undefined],
  ['node-a', '/O=system:nodes/CN=system:node:node-a', 'clientAuth', undefined],
] as const;

/** A running kube-apiserver with a store of its own. */
export interface TestServer {
  readonly directory: string;
  readonly port: number;
  readonly pid: number;
  /** A client with one of the certificates. */
  client(name: 'admin' | 'jane' | 'node-a' | 'anonymous'): Promise<ApiClient>;
  /** A kubeconfig file of the administrator. */
  readonly kubeconfig: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
}

/** Makes certificates, starts the server with kubeadm's flags and `flags`, and waits for /readyz. Ends with the test. */
export async function startTestServer(t: Test, flags: readonly string[] = []): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), 'tkadm-apiserver-'));
  await makePki(directory);
  const port = await freePort();
  const clients: ApiClient[] = [];
  let child: ChildProcess | undefined;
  const file = (name: string) => join(directory, name);
  const client = async (name: string) => {
    const read = (path: string) => readFile(file(path), 'utf8');
    const pair =
      name === 'anonymous' ? {} : { certPem: await read(`${name}.crt`), keyPem: await read(`${name}.key`) };
    const made = new ApiClient({ server: `https://127.0.0.1:${port}`, caPem: await read('ca.crt'), ...pair });
    clients.push(made);
    return made;
  };
  const start = async () => {
    child = spawn(process.execPath, ['--import=tsx', MAIN, ...flagsOf(directory, port), ...flags], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const admin = await client('admin');
    await waitFor(() => admin.requestText('GET', '/readyz'), {
      subject: 'the API server',
      timeoutMs: 20_000,
      intervalMs: 50,
    });
  };
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  t.teardown(async () => {
    for (const made of clients) made.close();
    await stop();
    await rm(directory, { recursive: true, force: true });
  });
  await start();
  const kubeconfig = file('admin.conf');
  await writeFile(kubeconfig, formatKubeconfig(directory, port));
  return {
    directory,
    port,
    get pid() {
      return child?.pid ?? 0;
    },
    client,
    kubeconfig,
    stop,
    start,
  };
}

/** The refusal of a request; the test fails when it succeeds. */
export async function refused(t: Test, request: Promise<unknown>): Promise<ApiError> {
  try {
    await request;
  } catch (error) {
    if (isApiError(error)) return error;
    throw error;
  }
  t.fail('the request was accepted');
  throw new Error('accepted');
}

function flagsOf(directory: string, port: number): readonly string[] {
  const file = (name: string) => join(directory, name);
  return [
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    '--advertise-address=127.0.0.1',
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--client-ca-file=${file('ca.crt')}`,
    `--tls-cert-file=${file('apiserver.crt')}`,
    `--tls-private-key-file=${file('apiserver.key')}`,
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${file('sa.pub')}`,
    `--service-account-signing-key-file=${file('sa.key')}`,
    '--service-cluster-ip-range=10.96.0.0/12',
    `--kubelet-client-certificate=${file('admin.crt')}`,
    `--kubelet-client-key=${file('admin.key')}`,
    '--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname',
    `--store-dir=${file('store')}`,
  ];
}

async function makePki(directory: string): Promise<void> {
  const openssl = (...args: string[]) => run('openssl', args, { cwd: directory });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '2',
    '-subj',
    '/CN=ca',
  );
  for (const [name, subject, usage, alternative] of CERTIFICATES) {
    await openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject);
    const names = alternative ? `subjectAltName=${alternative}\n` : '';
    await writeFile(join(directory, `${name}.ext`), `${names}extendedKeyUsage=${usage}\n`);
    const ca = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
    await openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...ca,
      '-out',
      `${name}.crt`,
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
    );
  }
  await openssl('genrsa', '-out', 'sa.key', '2048');
  await openssl('rsa', '-in', 'sa.key', '-pubout', '-out', 'sa.pub');
}

function formatKubeconfig(directory: string, port: number): string {
  const file = (name: string) => join(directory, name);
  const entry = (name: string) => ({
    name,
    user: { 'client-certificate': file(`${name}.crt`), 'client-key': file(`${name}.key`) },
  });
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'admin',
    clusters: [
      {
        name: 'c',
        cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority': file('ca.crt') },
      },
    ],
    users: [entry('admin'), entry('jane')],
    contexts: ['admin', 'jane'].map((name) => ({ name, context: { cluster: 'c', user: name } })),
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}
