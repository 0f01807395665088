import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { formatError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { sleep } from '../../runtime/base/time.ts';
import {
  type Check,
  CONTROL_PLANES,
  type ExternalEtcdInput,
  errorFinding,
  type Finding,
} from '../finding.ts';

/** Oldest etcd that each engine's API server works with. */
const MIN_VERSIONS = { embedded: [3, 4, 0], upstream: [3, 5, 24] } as const;
const ATTEMPTS = 3;
const REQUEST_TIMEOUT_MS = 10_000;
const PAUSE_MS = 200;

/** An etcd that somebody else runs. It is asked from the machine that runs tkadm. */
export const ETCD_CHECKS: readonly Check[] = [
  {
    name: 'ExternalEtcdVersion',
    scopes: CONTROL_PLANES,
    severity: 'error',
    looksAt: `every external etcd answers GET /version with at least ${MIN_VERSIONS.embedded.join('.')}, with the upstream engine ${MIN_VERSIONS.upstream.join('.')}; ${ATTEMPTS} attempts of ${REQUEST_TIMEOUT_MS / 1000} s`,
    timeoutMs: ATTEMPTS * (REQUEST_TIMEOUT_MS + PAUSE_MS) + 1_000,
    async observe(host, { externalEtcd, engine = 'embedded' }) {
      if (!externalEtcd) return undefined;
      const { endpoints, httpEndpoints = [] } = externalEtcd;
      const tls = await readTls(host, externalEtcd);
      const targets = httpEndpoints.length > 0 ? httpEndpoints : endpoints;
      return (await Promise.all(targets.map((endpoint) => judgeEndpoint(endpoint, tls, engine)))).flat();
    },
  },
  {
    name: 'ExternalEtcdClientCertificates',
    scopes: CONTROL_PLANES,
    severity: 'error',
    looksAt: 'caFile, certFile and keyFile of an external etcd are there',
    async observe(host, { externalEtcd }) {
      if (!externalEtcd) return undefined;
      const rows = (['caFile', 'certFile', 'keyFile'] as const).filter((field) => externalEtcd[field] !== '');
      const stats = await Promise.all(rows.map((field) => host.stat(externalEtcd[field])));
      return rows
        .filter((_, i) => stats[i] === undefined)
        .map((field) =>
          errorFinding(
            'ExternalEtcdClientCertificates',
            `"${externalEtcd[field]}" is not there`,
            `etcd.external.${field} names it`,
            `copy it from a machine of etcd to ${externalEtcd[field]}`,
          ),
        );
    },
  },
];

type Tls = Pick<RequestOptions, 'ca' | 'cert' | 'key'>;

async function readTls(host: Host, { caFile, certFile, keyFile }: ExternalEtcdInput): Promise<Tls> {
  const read = (path: string) => (path === '' ? undefined : host.readFile(path));
  const [ca, cert, key] = await Promise.all([read(caFile), read(certFile), read(keyFile)]);
  return { ...(ca ? { ca } : {}), ...(cert && key ? { cert, key } : {}) };
}

type Engine = keyof typeof MIN_VERSIONS;

async function judgeEndpoint(endpoint: string, tls: Tls, engine: Engine): Promise<readonly Finding[]> {
  const url = `${endpoint.replace(/\/$/, '')}/version`;
  let last = '';
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      return judgeVersion(url, await fetchVersion(url, tls), engine);
    } catch (error) {
      last = formatError(error);
      if (attempt < ATTEMPTS) await sleep(PAUSE_MS);
    }
  }
  const reason = `the external etcd at "${endpoint}" does not tell its version`;
  const evidence = `GET ${url}, ${ATTEMPTS} times: ${last}`;
  return [
    errorFinding('ExternalEtcdVersion', reason, evidence, `curl --cacert CA --cert CERT --key KEY ${url}`),
  ];
}

function judgeVersion(url: string, version: string, engine: Engine): readonly Finding[] {
  const minimum = MIN_VERSIONS[engine];
  const parts = version.split('-')[0]!.split('.').map(Number);
  const difference = minimum.map((wanted, i) => (parts[i] ?? 0) - wanted).find((value) => value !== 0) ?? 0;
  if (difference >= 0) return [];
  const reason = `etcd ${version} is too old: the ${engine} engine needs ${minimum.join('.')}`;
  return [
    errorFinding('ExternalEtcdVersion', reason, `GET ${url} says etcdserver ${version}`, 'upgrade etcd'),
  ];
}

/** `etcdserver` of the answer. */
function fetchVersion(url: string, tls: Tls): Promise<string> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    const request = send(url, { agent: false, timeout: REQUEST_TIMEOUT_MS, ...tls });
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > 65_536) request.destroy(new Error('the answer is too long'));
      });
      response.on('end', () => {
        const version = /"etcdserver"\s*:\s*"(\d+\.\d+\.\d+[^"]*)"/.exec(text)?.[1];
        if (version) resolve(version);
        else reject(new Error(`the answer, status ${response.statusCode}, names no version of etcd`));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS} ms`)));
    request.on('error', reject);
    request.end();
  });
}
