import { createCipheriv, createDecipheriv } from 'node:crypto';
import { TkadmError } from '../runtime/base/errors.ts';
import type { FileReader, PkiFile } from './plan.ts';

/** A file that all control-plane nodes have in common. */
export interface SharedFile {
  /** Key in the Secret. */
  readonly name: string;
  readonly path: string;
  readonly mode: number;
}

/** Where the shared files of a cluster are; its configuration fits. */
export interface SharedFilesInput {
  readonly certificatesDir: string;
  /** With an etcd of its own the cluster shares that one's CA. */
  readonly hasLocalEtcd: boolean;
  readonly externalEtcd?:
    | { readonly caFile: string; readonly certFile: string; readonly keyFile: string }
    | undefined;
}

/** Names in the Secret are kubeadm's, so that both tools can read what the other uploaded. */
const SHARED = [
  { name: 'ca.crt', file: 'ca.crt' },
  { name: 'ca.key', file: 'ca.key' },
  { name: 'front-proxy-ca.crt', file: 'front-proxy-ca.crt' },
  { name: 'front-proxy-ca.key', file: 'front-proxy-ca.key' },
  { name: 'sa.key', file: 'sa.key' },
  { name: 'sa.pub', file: 'sa.pub' },
  { name: 'etcd-ca.crt', file: 'etcd/ca.crt', isEtcd: true },
  { name: 'etcd-ca.key', file: 'etcd/ca.key', isEtcd: true },
] as const satisfies readonly { readonly name: string; readonly file: string; readonly isEtcd?: boolean }[];

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** The files that the control-plane nodes of a cluster share. */
export function listSharedFiles(input: SharedFilesInput): readonly SharedFile[] {
  const etcd = input.externalEtcd;
  const external = etcd
    ? [
        { name: 'external-etcd-ca.crt', path: etcd.caFile },
        { name: 'external-etcd.crt', path: etcd.certFile },
        { name: 'external-etcd.key', path: etcd.keyFile },
      ]
    : [];
  return [
    ...SHARED.filter((row) => !('isEtcd' in row) || input.hasLocalEtcd).map(({ name, file }) => ({
      name,
      path: `${input.certificatesDir}/${file}`,
    })),
    ...external.filter(({ path }) => path !== ''),
  ].map((row) => ({ ...row, mode: row.name.endsWith('.crt') ? 0o644 : 0o600 }));
}

/** The bytes of a certificate key. @throws CERTIFICATE_KEY_INVALID; the message does not repeat the text. */
export function parseCertificateKey(text: string): Buffer {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  throw new TkadmError(
    'CERTIFICATE_KEY_INVALID',
    `Cannot use the certificate key: it is not ${KEY_BYTES} bytes in hexadecimal`,
    { hint: 'tkadm certs certificate-key' },
  );
}

/** A new certificate key in hexadecimal; `randomBytes(n)` gives n random bytes. */
export function generateCertificateKey(randomBytes: (count: number) => Uint8Array): string {
  return Buffer.from(randomBytes(KEY_BYTES)).toString('hex');
}

/** Nonce (12 bytes), AES-256-GCM ciphertext and tag (16 bytes), one after the other. */
export function encryptFile(
  text: string,
  key: Uint8Array,
  randomBytes: (count: number) => Uint8Array,
): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  return Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
}

/** The text of an encrypted file. @throws PKI_SECRET_INVALID when the key is another or the data was changed. */
export function decryptFile(name: string, data: Uint8Array, key: Uint8Array): string {
  const end = data.length - TAG_BYTES;
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, data.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(data.subarray(end));
    return Buffer.concat([decipher.update(data.subarray(NONCE_BYTES, end)), decipher.final()]).toString(
      'utf8',
    );
  } catch (error) {
    throw new TkadmError(
      'PKI_SECRET_INVALID',
      `Cannot decrypt "${name}" of the uploaded certificates: the certificate key does not fit`,
      { cause: error, hint: 'tkadm init phase upload-certs --upload-certs, on a control-plane node' },
    );
  }
}

/**
 * The `data` of the Secret: each shared file encrypted, base64.
 * @throws PKI_KEY_MISSING naming every file that is not there: a CA whose key is elsewhere is not uploaded.
 */
export async function encryptSharedFiles(
  files: readonly SharedFile[],
  options: {
    readonly host: FileReader;
    readonly key: Uint8Array;
    readonly randomBytes: (count: number) => Uint8Array;
  },
): Promise<Readonly<Record<string, string>>> {
  const texts = await Promise.all(files.map(({ path }) => options.host.readFile(path)));
  const missing = files.filter((_, i) => texts[i] === undefined).map(({ path }) => `"${path}"`);
  if (missing.length > 0) {
    throw new TkadmError(
      'PKI_KEY_MISSING',
      `Cannot upload the certificates: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not there`,
      { hint: 'With an external CA, copy the certificates and keys of each control-plane node by hand' },
    );
  }
  return Object.fromEntries(
    files.map(({ name }, i) => [
      name,
      encryptFile(texts[i]!, options.key, options.randomBytes).toString('base64'),
    ]),
  );
}

/**
 * The files of an uploaded Secret to write on a joining control-plane node; one that is there already with the
 * same content is left out.
 * @throws PKI_SECRET_INVALID when one is missing or the key does not fit, PKI_FILE_EXISTS when another one is there.
 */
export async function planDownload(
  files: readonly SharedFile[],
  options: {
    readonly host: FileReader;
    readonly key: Uint8Array;
    /** `data` of the Secret. */
    readonly data: Readonly<Record<string, string>>;
  },
): Promise<readonly PkiFile[]> {
  const missing = files.filter(({ name }) => options.data[name] === undefined);
  if (missing.length > 0) {
    throw new TkadmError(
      'PKI_SECRET_INVALID',
      `Cannot use the uploaded certificates: they lack ${missing.map(({ name }) => `"${name}"`).join(', ')}`,
      { hint: 'tkadm init phase upload-certs --upload-certs, on a control-plane node' },
    );
  }
  const texts = files.map(({ name }) =>
    decryptFile(name, Buffer.from(options.data[name]!, 'base64'), options.key),
  );
  const existing = await Promise.all(files.map(({ path }) => options.host.readFile(path)));
  const taken = files.filter((_, i) => existing[i] !== undefined && existing[i] !== texts[i]);
  if (taken.length > 0) {
    throw new TkadmError(
      'PKI_FILE_EXISTS',
      `Cannot write ${taken.map(({ path }) => `"${path}"`).join(', ')}: other files are there`,
      { hint: 'tkadm reset, when this machine belongs to no cluster any more' },
    );
  }
  return files.flatMap(({ path, mode }, i) =>
    existing[i] === undefined
      ? [
          {
            kind: 'write-file' as const,
            path,
            mode,
            content: texts[i]!,
            ...(mode === 0o600 ? { secret: true } : {}),
          },
        ]
      : [],
  );
}
