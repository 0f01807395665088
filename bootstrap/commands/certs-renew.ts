import { readNotAfter } from '../../pki/expiry.ts';
import { type PkiFile, readCa } from '../../pki/plan.ts';
import { planRenewal } from '../../pki/renew.ts';
import { parseKubeconfig } from '../../runtime/api/kubeconfig.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { planKubeconfigRenewal } from '../../templates/kubeconfig-renewal.ts';
import { writeTogether } from '../workflow/action.ts';
import { type CertsConfig, type CertsOptions, loadCertsConfig } from './certs-config.ts';
import { type CertsTarget, listTargets, RENEWABLE_NAMES } from './certs-targets.ts';
import { verifyInUse } from './certs-verify.ts';
import type { CliContext } from './context.ts';
import { withJournal } from './journal.ts';
import { writeData } from './output.ts';

export interface CertsRenewOptions extends CertsOptions {
  readonly output: string;
  /** Do not look whether the new certificates are in use. */
  readonly wait?: boolean;
}

/** What became of one certificate. */
interface Renewal {
  readonly target: CertsTarget;
  readonly state: 'renewed' | 'missing' | 'external';
  readonly files: readonly PkiFile[];
  /** Of the new certificate. */
  readonly certPem?: string;
}

/**
 * `tkadm certs renew NAME`: issues certificates again, writes them, and sees them in use.
 * @throws USAGE for an unknown name, PKI_KEY_MISSING when the one that is named cannot be renewed, WAIT_TIMEOUT.
 */
export async function runCertsRenew(
  context: CliContext,
  name: string,
  options: CertsRenewOptions,
): Promise<void> {
  if (name !== 'all' && !RENEWABLE_NAMES.includes(name)) {
    throw new TkadmError(
      'USAGE',
      `Cannot renew "${name}": it is none of all, ${RENEWABLE_NAMES.join(', ')}`,
      {
        hint: 'tkadm certs check-expiration',
      },
    );
  }
  const host = createLocalHost();
  const config = await loadCertsConfig(context, host, options);
  const targets = (await listTargets(host, config)).filter((row) => name === 'all' || row.name === name);
  const renewals = await withJournal(
    context,
    { host, command: 'certs renew', extent: 'files' },
    async (perform) => {
      const planned = await Promise.all(
        targets.map((target) => planTarget(target, host, config, context.now())),
      );
      if (name !== 'all') refuseUnrenewed(name, planned[0]);
      for (const action of planned.flatMap(({ files }) => writeTogether(files))) await perform(action);
      return planned;
    },
  );
  const results = await Promise.all(
    renewals.map(async (renewal) => ({
      ...describe(renewal),
      ...(renewal.certPem === undefined || options.wait === false
        ? {}
        : {
            inUse: await verifyInUse(renewal.target, renewal.certPem, {
              host,
              config,
              signal: context.signal,
            }),
          }),
    })),
  );
  writeData(context, options.output, { certificates: results }, results.map(formatResult).join(''));
}

async function planTarget(target: CertsTarget, host: Host, config: CertsConfig, now: Date): Promise<Renewal> {
  const { cluster } = config.config;
  const pki = {
    host,
    certificatesDir: config.certificatesDir,
    algorithm: cluster.encryptionAlgorithm,
    certificateValidityMs: parseDuration(cluster.certificateValidityPeriod),
    now,
  };
  const text = await host.readFile(target.path);
  if (text === undefined) return { target, state: 'missing', files: [] };
  try {
    if ('certificate' in target) {
      // Names are added by a configuration that was given, not by one that was guessed.
      const input = config.origin === 'file' ? config.config : undefined;
      const files = await planRenewal(target.certificate, { ...pki, input });
      return { target, state: 'renewed', files, certPem: files[1]!.content };
    }
    const file = await planKubeconfigRenewal(target.path, text, { ...pki, ca: await readCa('ca', pki) });
    return { target, state: 'renewed', files: [file], certPem: certificateIn(file) };
  } catch (error) {
    if (!isTkadmError(error, 'PKI_KEY_MISSING')) throw error;
    return { target, state: 'external', files: [] };
  }
}

function certificateIn({ content, path }: PkiFile): string {
  const data = parseKubeconfig(content, path).users![0]!.user['client-certificate-data']!;
  return Buffer.from(data, 'base64').toString('utf8');
}

function refuseUnrenewed(name: string, renewal: Renewal | undefined): void {
  if (renewal?.state === 'renewed') return;
  const { target } = renewal ?? {};
  const state =
    renewal?.state === 'external'
      ? `the key of its CA "${target!.caName}" is not on this machine`
      : target
        ? `"${target.path}" is not there`
        : 'this cluster has no etcd of its own';
  throw new TkadmError('PKI_KEY_MISSING', `Cannot renew "${name}": ${state}`, {
    hint:
      renewal?.state === 'external'
        ? 'tkadm certs generate-csr, and let that CA sign'
        : 'tkadm init phase certs, or kubeconfig, makes what is missing',
  });
}

function describe({ target, state, certPem }: Renewal) {
  return {
    name: target.name,
    path: target.path,
    state,
    caName: target.caName,
    usedBy: target.reader,
    ...(certPem
      ? {
          expirationDate: readNotAfter(certPem)
            .toISOString()
            .replace(/\.\d+Z$/, 'Z'),
        }
      : {}),
  };
}

function formatResult(result: ReturnType<typeof describe> & { readonly inUse?: string }): string {
  const { name, state, path, caName, usedBy, expirationDate, inUse } = result;
  if (state === 'missing') return `[missing] ${name}: "${path}" is not there\n`;
  if (state === 'external')
    return `[external] ${name}: the key of its CA "${caName}" is not on this machine\n`;
  return `[renewed] ${name}: ends at ${expirationDate}; ${inUse ?? `${usedBy} reads it again by itself`}\n`;
}
