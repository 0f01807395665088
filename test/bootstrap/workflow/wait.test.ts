import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { Finding } from '../../../bootstrap/diagnose/diagnosis.ts';
import { createCrashWatch } from '../../../bootstrap/workflow/pods.ts';
import { createRequestWatch } from '../../../bootstrap/workflow/unsigned-request.ts';
import { waitForTarget } from '../../../bootstrap/workflow/wait.ts';
import { createCertificateRequest } from '../../../pki/csr.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';

const FINDING: Finding = {
  name: 'agent-stopped',
  subject: 'node/cp',
  confidence: 'certain',
  cause: 'tkadm-agent does not run on cp',
  fix: 'tkadm service start',
  evidence: ['tkadm-agent: no process'],
};

t.test('waitForTarget() ends with the likeliest cause and its fix', async (t) => {
  const action = {
    kind: 'wait',
    subject: 'the file',
    timeoutMs: 10,
    target: { kind: 'file', path: '/nonexistent-file' },
    hint: 'look there',
  } as const;
  const wait = (diagnose: () => Promise<readonly Finding[]>) =>
    waitForTarget(action, {
      host: createLocalHost(),
      signal: new AbortController().signal,
      api: async () => Promise.reject(new Error('none')),
      diagnose,
    });
  await t.rejects(
    wait(async () => [FINDING]),
    {
      code: 'WAIT_TIMEOUT',
      message:
        /Cannot see the file[\s\S]*most likely: tkadm-agent does not run on cp\n {4}seen {2}tkadm-agent: no process/,
      hint: 'tkadm service start',
      details: { findings: [FINDING] },
    },
  );
  for (const diagnose of [async () => [], async () => Promise.reject(new Error('it fails too'))]) {
    const error = { message: /^Cannot see the file after 10 ms$/, hint: 'look there' };
    await t.rejects(wait(diagnose), error);
  }
});

t.test('createCrashWatch() refuses the third start, and takes those of before for boots', async (t) => {
  const run = { component: 'kube-scheduler', nodeName: 'cp', hash: '1' };
  let logs: readonly string[] = [];
  const host = {
    list: async () => logs,
    readFile: async () => '2026-01-01T00:00:00Z stderr F it went wrong\n',
  };
  const fresh = createCrashWatch(run, host);
  for (logs of [[], ['0.log'], ['1.log']]) await fresh();
  logs = ['2.log'];
  await t.rejects(fresh(), { code: 'CONTAINER_CRASHES', message: /3 starts so far: it went wrong/ });
  logs = ['8.log'];
  const booted = createCrashWatch(run, host);
  await booted();
  await booted();
  logs = ['9.log'];
  await t.rejects(booted(), { code: 'CONTAINER_CRASHES' });
});

t.test('createRequestWatch() says that nobody signs an approved request', async (t) => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keyPem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const request = (nodeName: string) =>
    Buffer.from(
      createCertificateRequest({
        keyPem,
        subject: { commonName: `system:node:${nodeName}`, organizations: [] },
      }),
    ).toString('base64');
  let status: object = {};
  const server = createServer((_, response) => {
    const own = { metadata: { name: 'csr-own' }, spec: { request: request('node1') }, status };
    const approved = { conditions: [{ type: 'Approved' }] };
    const other = { metadata: { name: 'csr-other' }, spec: { request: request('node2') }, status: approved };
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ items: [other, own] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const port = (server.address() as AddressInfo).port;
  const directory = t.testdir({
    'bootstrap.conf': JSON.stringify({
      kind: 'Config',
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
      clusters: [{ name: 'k', cluster: { server: `http://127.0.0.1:${port}` } }],
    }),
  });
  const watch = (patienceMs: number) =>
    createRequestWatch({
      kubeconfig: join(directory, 'bootstrap.conf'),
      nodeName: 'node1',
      patienceMs,
      intervalMs: 0,
    });
  const waits = watch(0);
  await waits();
  status = { conditions: [{ type: 'Approved' }], certificate: 'c2lnbmVk' };
  await waits();
  status = { conditions: [{ type: 'Approved' }] };
  await watch(60_000)();
  await t.rejects(waits(), {
    code: 'REQUEST_NOT_SIGNED',
    message: /request "csr-own" is approved, and nobody in the cluster signs it: its CA is an external one/,
    hint: /system:node:node1/,
  });
});

t.test('waitForTarget() tells of a look that has no answer, and ends with the signal at once', async (t) => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/healthz`;
  const stop = new AbortController();
  const told: string[] = [];
  const action = {
    kind: 'wait',
    subject: 'an answer',
    timeoutMs: 60_000,
    target: { kind: 'http', url },
  } as const;
  await t.rejects(
    waitForTarget(action, {
      host: createLocalHost(),
      signal: stop.signal,
      api: async () => Promise.reject(new Error('none')),
      progressMs: 1,
      onProgress(message) {
        told.push(message);
        if (told.length === 3) stop.abort(new Error('interrupted'));
      },
    }),
    { message: 'interrupted' },
  );
  t.match(told[2], /^still waiting for an answer \(\d of 60 s\)$/);
});
