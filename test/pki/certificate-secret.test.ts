import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  decryptFile,
  encryptFile,
  encryptSharedFiles,
  generateCertificateKey,
  listSharedFiles,
  parseCertificateKey,
  planDownload,
} from '../../pki/certificate-secret.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';

const HOST = { readFile: readFileIfExists };

t.test('encryptFile() writes nonce, ciphertext and tag, as an independent decoder reads them', (t) => {
  const key = randomBytes(32);
  const text = '-----BEGIN CERTIFICATE-----\nüñ\n';
  const data = encryptFile(text, key, randomBytes);
  t.equal(data.length, 12 + Buffer.byteLength(text) + 16);
  const decipher = createDecipheriv('aes-256-gcm', key, data.subarray(0, 12), { authTagLength: 16 });
  decipher.setAuthTag(data.subarray(data.length - 16));
  const plain = Buffer.concat([decipher.update(data.subarray(12, data.length - 16)), decipher.final()]);
  t.equal(plain.toString(), text);
  t.notSame(encryptFile(text, key, randomBytes), data, 'another nonce each time');
  t.end();
});

t.test('decryptFile() reads what another encoder wrote, and nothing that was changed', (t) => {
  const key = randomBytes(32);
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const body = Buffer.concat([cipher.update('secret'), cipher.final()]);
  const data = Buffer.concat([nonce, body, cipher.getAuthTag()]);
  t.equal(decryptFile('a', data, key), 'secret');
  for (const position of [0, 12, data.length - 1]) {
    const changed = Buffer.from(data);
    changed[position]! ^= 1;
    t.throws(() => decryptFile('sa.key', changed, key), {
      code: 'PKI_SECRET_INVALID',
      message: /"sa\.key".*does not fit/,
    });
  }
  t.throws(() => decryptFile('a', data, randomBytes(32)), { code: 'PKI_SECRET_INVALID' });
  t.throws(() => decryptFile('a', data.subarray(0, 5), key), { code: 'PKI_SECRET_INVALID' });
  t.end();
});

t.test('parseCertificateKey() takes 32 bytes in hexadecimal and repeats no other text', (t) => {
  const key = generateCertificateKey(randomBytes);
  t.match(key, /^[0-9a-f]{64}$/);
  t.equal(parseCertificateKey(key.toUpperCase()).toString('hex'), key);
  for (const text of ['', 'abcd', `${key}00`, `${key.slice(1)}g`]) {
    t.throws(() => parseCertificateKey(text), { code: 'CERTIFICATE_KEY_INVALID', hint: /certificate-key/ });
  }
  t.throws(() => parseCertificateKey('abcd'), { message: /^((?!abcd).)*$/ });
  t.end();
});

/** The Secret's keys for each place where a cluster may keep its objects. */
const NAMES = [
  { what: 'the embedded store', input: { hasLocalEtcd: false }, etcd: [] },
  { what: 'an etcd of its own', input: { hasLocalEtcd: true }, etcd: ['etcd-ca.crt', 'etcd-ca.key'] },
  {
    what: 'an external etcd',
    input: { hasLocalEtcd: false, externalEtcd: { caFile: '/e/ca', certFile: '/e/c', keyFile: '/e/k' } },
    etcd: ['external-etcd-ca.crt', 'external-etcd.crt', 'external-etcd.key'],
  },
] as const;

for (const { what, input, etcd } of NAMES) {
  t.test(`listSharedFiles() with ${what}`, (t) => {
    const files = listSharedFiles({ certificatesDir: '/p', ...input });
    const common = ['ca.crt', 'ca.key', 'front-proxy-ca.crt', 'front-proxy-ca.key', 'sa.key', 'sa.pub'];
    t.same(
      files.map((file) => file.name),
      [...common, ...etcd],
    );
    for (const file of files) t.equal(file.mode, file.name.endsWith('.crt') ? 0o644 : 0o600, file.name);
    t.end();
  });
}

t.test('planDownload() writes what encryptSharedFiles() read, once, and over no other file', async (t) => {
  const dir = t.testdir();
  const [from, to] = [join(dir, 'from'), join(dir, 'to')];
  const at = (certificatesDir: string) => listSharedFiles({ certificatesDir, hasLocalEtcd: true });
  for (const path of [join(from, 'etcd'), join(to, 'etcd')]) mkdirSync(path, { recursive: true });
  for (const file of at(from)) writeFileSync(file.path, `content of ${file.name}`);
  const key = randomBytes(32);
  const data = await encryptSharedFiles(at(from), { host: HOST, key, randomBytes });
  const download = (options: object = {}) => planDownload(at(to), { host: HOST, key, data, ...options });
  const files = await download();
  t.same(
    files.map(({ path, mode, content }) => ({ path, mode, content })),
    at(to).map(({ name, path, mode }) => ({ path, mode, content: `content of ${name}` })),
  );
  for (const file of files) {
    t.equal(file.secret ?? false, file.mode === 0o600, file.path);
    writeFileSync(file.path, file.content);
  }
  t.same(await download(), [], 'nothing to do the second time');
  writeFileSync(join(to, 'sa.key'), 'another');
  await t.rejects(download(), { code: 'PKI_FILE_EXISTS', message: /"[^"]*\/sa\.key": other files/ });
  const { 'ca.key': _, ...rest } = data;
  await t.rejects(download({ data: rest }), { code: 'PKI_SECRET_INVALID', message: /they lack "ca\.key"/ });
  await t.rejects(download({ key: randomBytes(32) }), { code: 'PKI_SECRET_INVALID' });
});

t.test('encryptSharedFiles() refuses without the key of a CA, naming each file', async (t) => {
  const dir = t.testdir({ 'ca.crt': 'c', 'front-proxy-ca.crt': 'c', 'sa.key': 'k', 'sa.pub': 'p' });
  const files = listSharedFiles({ certificatesDir: dir, hasLocalEtcd: false });
  await t.rejects(encryptSharedFiles(files, { host: HOST, key: randomBytes(32), randomBytes }), {
    code: 'PKI_KEY_MISSING',
    message: /\/ca\.key", "[^"]*\/front-proxy-ca\.key" are not there/,
  });
});
