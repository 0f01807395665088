import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import t from 'tap';
import { parseCertificateRequest } from '../../../pki/csr.ts';
import { CLI, runNodeWithOwnEtc, runTkadmWithOwnEtc } from './tkadm.ts';

const CONFIG = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {name: n1}
localAPIEndpoint: {advertiseAddress: 10.0.0.5}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: lb.example.com:6443
encryptionAlgorithm: ECDSA-P256
`;
const KILL_AT = `file://${join(import.meta.dirname, '../../hosts/kill-at.mjs')}`;
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'];

t.test('a cluster whose CAs are kept elsewhere: requests, signatures, and nothing signed here', async (t) => {
  const directory = await mkdtemp('/var/tmp/tkadm-etc-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const kubernetes = join(directory, 'upper/kubernetes');
  const pki = join(kubernetes, 'pki');
  mkdirSync(pki, { recursive: true });
  writeFileSync(join(kubernetes, 'config.yaml'), CONFIG);
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: directory, encoding: 'utf8', stdio: 'pipe' });
  const kubectl = (...args: readonly string[]) =>
    execFileSync('kubectl', ['config', ...args], { stdio: 'pipe' });
  const run = (...args: readonly string[]) =>
    runTkadmWithOwnEtc(directory, ...args, '--config', '/etc/kubernetes/config.yaml');

  const requests = await run('certs', 'generate-csr');
  t.equal(requests.exitCode, 0, requests.stderr);
  t.equal(requests.stdout.trim().split('\n').length, 2 * (3 + 5), 'a key and a request each');
  for (const name of ['pki/apiserver.key', 'pki/apiserver.csr', 'admin.conf', 'admin.conf.csr'])
    t.equal(statSync(join(kubernetes, name)).mode & 0o777, 0o600, name);
  const request = openssl('req', '-noout', '-verify', '-text', '-in', join(pki, 'apiserver.csr'));
  t.match(request, /Subject: CN = kube-apiserver\n/);
  t.match(request, /DNS:lb\.example\.com, DNS:n1, IP Address:10\.96\.0\.1, IP Address:10\.0\.0\.5/);
  t.match(request, /TLS Web Server Authentication/);
  t.match(
    openssl('req', '-noout', '-subject', '-in', join(kubernetes, 'kubelet.conf.csr')),
    'subject=O = system:nodes, CN = system:node:n1',
  );
  const written = digestFiles(kubernetes);
  t.match(await run('certs', 'generate-csr'), { exitCode: 0, stdout: requests.stdout });
  t.same(digestFiles(kubernetes), written, 'a second run changes nothing');
  writeFileSync(join(kubernetes, 'config.yaml'), CONFIG.replace('lb.example', 'other.example'));
  const other = await run('certs', 'generate-csr');
  t.equal(other.exitCode, 6);
  t.match(other.stderr, /pki\/apiserver\.csr" exists and asks for something else/);
  t.notMatch(other.stderr, /admin/, 'that is as it was');
  writeFileSync(join(kubernetes, 'config.yaml'), CONFIG);

  for (const ca of ['kubernetes', 'front-proxy-ca'])
    openssl('req', '-x509', ...NEW_KEY, '-keyout', `${ca}.key`, '-out', `${ca}.crt`, '-subj', `/CN=${ca}`);
  const sign = (csr: string, crt: string, ca: string) =>
    openssl(
      ...['x509', '-req', '-in', csr, '-out', crt, '-CA', `${ca}.crt`, '-CAkey', `${ca}.key`],
      ...['-CAcreateserial', '-copy_extensions', 'copyall', '-days', '20'],
    );
  const caPath = join(directory, 'kubernetes.crt');
  writeFileSync(join(pki, 'ca.crt'), readFileSync(caPath));
  writeFileSync(join(pki, 'front-proxy-ca.crt'), readFileSync(join(directory, 'front-proxy-ca.crt')));
  const incomplete = await run('init', 'phase', 'certs', 'all');
  t.equal(incomplete.exitCode, 6);
  for (const file of ['pki/apiserver.crt', 'pki/apiserver-kubelet-client.crt'])
    t.match(incomplete.stderr, `"/etc/kubernetes/${file}": it is not there`);
  t.match(incomplete.stderr, /super-admin\.conf": its CA is not the cluster's/);
  t.notMatch(incomplete.stderr, /apiserver\.key/, 'that is there');

  for (const name of ['apiserver', 'apiserver-kubelet-client', 'front-proxy-client']) {
    const ca = name === 'front-proxy-client' ? 'front-proxy-ca' : 'kubernetes';
    sign(join(pki, `${name}.csr`), join(pki, `${name}.crt`), ca);
  }
  for (const file of readdirSync(kubernetes).filter((name) => name.endsWith('.conf'))) {
    const path = join(kubernetes, file);
    const cert = join(directory, `${file}.crt`);
    sign(`${path}.csr`, cert, 'kubernetes');
    const user = /users:\n\s*- name: (\S+)/.exec(readFileSync(path, 'utf8'))![1]!;
    const embed = ['--embed-certs', '--kubeconfig', path];
    kubectl('set-credentials', user, `--client-certificate=${cert}`, ...embed);
    kubectl('set-cluster', 'kubernetes', `--certificate-authority=${caPath}`, ...embed);
  }
  const before =
    readFileSync(join(pki, 'apiserver.crt'), 'utf8') + readFileSync(join(kubernetes, 'admin.conf'));
  for (const phase of ['certs', 'kubeconfig']) {
    const done = await run('init', 'phase', phase, 'all');
    t.equal(done.exitCode, 0, done.stderr);
  }
  const after =
    readFileSync(join(pki, 'apiserver.crt'), 'utf8') + readFileSync(join(kubernetes, 'admin.conf'));
  t.equal(after, before, 'what the CA signed stays');
  t.notOk(existsSync(join(pki, 'ca.key')) || existsSync(join(pki, 'front-proxy-ca.key')));
  t.ok(existsSync(join(pki, 'sa.key')), 'no CA signs these keys: they are made');
  const manifest = await run('init', 'phase', 'control-plane', 'controller-manager');
  t.equal(manifest.exitCode, 0, manifest.stderr);
  t.match(
    readFileSync(join(kubernetes, 'manifests/kube-controller-manager.yaml'), 'utf8'),
    /--cluster-signing-cert-file=['"]?\n[\s\S]*--cluster-signing-key-file=['"]?\n/,
  );
  const expiration = await run('certs', 'check-expiration');
  t.match(expiration.stdout, /^apiserver +.* 19d +ca +yes$/m);
  const upload = await run('init', 'phase', 'upload-certs', '--upload-certs');
  t.equal(upload.exitCode, 6);
  t.match(
    upload.stderr,
    /Cannot upload the certificates: ".*\/ca\.key", ".*front-proxy-ca\.key" are not there/,
  );
  t.notMatch(upload.stdout + upload.stderr, /[0-9a-f]{64}/, 'no key is shown for nothing');

  rmSync(join(pki, 'apiserver.crt'));
  rmSync(join(kubernetes, 'scheduler.conf'));
  const broken = await run('init', 'phase', 'certs', 'ca');
  t.equal(broken.exitCode, 6);
  t.match(broken.stderr, /"\/etc\/kubernetes\/pki\/apiserver\.crt": it is not there/);
  t.match(broken.stderr, /"\/etc\/kubernetes\/scheduler\.conf": it is not there/);
});

t.test('generate-csr, killed again and again, goes on and makes no key anew', async (t) => {
  const directory = await mkdtemp('/var/tmp/tkadm-etc-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const kubernetes = join(directory, 'upper/kubernetes');
  mkdirSync(kubernetes, { recursive: true });
  writeFileSync(join(kubernetes, 'config.yaml'), CONFIG);
  const command = ['certs', 'generate-csr', '--config', '/etc/kubernetes/config.yaml'];
  let before: Readonly<Record<string, string>> = {};
  let kills = 0;
  // Each run puts one file more in its place than the one before: some end between a key and its request.
  for (let when = 2; ; when += 1) {
    const end = await runNodeWithOwnEtc(
      directory,
      '--import',
      `${KILL_AT}?at=rename&when=${when}`,
      CLI,
      ...command,
    );
    const now = digestFiles(kubernetes);
    const kept = Object.keys(before).filter((path) => !path.endsWith('.tmp'));
    t.same(
      kept.map((path) => now[path]),
      kept.map((path) => before[path]),
      `what is there stays, killed at ${when}`,
    );
    before = now;
    if (end.exitCode !== undefined) {
      t.equal(end.exitCode, 0, `the last one comes to its end: ${end.stderr}`);
      break;
    }
    kills += 1;
  }
  t.ok(kills > 2, `killed ${kills} times`);
  const names = Object.keys(before).sort();
  t.same(
    names.filter((name) => name.endsWith('.tmp')),
    [],
    'nothing half written is left',
  );
  const requests = names.filter((name) => name.endsWith('.csr'));
  t.equal(requests.length, 3 + 5);
  for (const name of requests) {
    const holder = name.startsWith('pki/') ? name.replace(/csr$/, 'key') : name.replace(/\.csr$/, '');
    const text = readFileSync(join(kubernetes, holder), 'utf8');
    const data = /client-key-data: (\S+)/.exec(text)?.[1];
    const key = createPublicKey(data ? Buffer.from(data, 'base64') : text);
    const { spki } = parseCertificateRequest(readFileSync(join(kubernetes, name), 'utf8'));
    t.ok(spki.equals(key.export({ type: 'spki', format: 'der' })), `${name} is of its key`);
  }
});

/** SHA-256 of every file below a directory but the configuration, by its path there. */
function digestFiles(directory: string): Readonly<Record<string, string>> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && entry.name !== 'config.yaml',
  );
  return Object.fromEntries(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [relative(directory, path), createHash('sha256').update(readFileSync(path)).digest('hex')];
    }),
  );
}
