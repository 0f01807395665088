import { randomBytes } from 'node:crypto';
import { isApiError } from '../../runtime/api/api-error.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { SECRETS } from '../../runtime/api/kinds.ts';
import { type ClientConfig, loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { tokenExpiry } from '../addons/token-secrets.ts';
import type { BootstrapTokenConfig } from '../config/types.ts';
import { formatTable } from '../render/table.ts';
import { formatJoinCommand } from '../tokens/join-command.ts';
import {
  buildTokenSecret,
  DEFAULT_TOKEN_GROUP,
  generateToken,
  parseTokenId,
  parseTtl,
  readTokenSecret,
  TOKEN_USAGES,
} from '../tokens/token.ts';
import { buildTokenDocument, formatTokenRows } from '../tokens/token-list.ts';
import { type CliContext, programName, readInput } from './context.ts';
import { type DocumentFormat, writeData, writeDocuments } from './output.ts';

interface TokenOptions {
  readonly kubeconfig?: string;
  readonly dryRun?: boolean;
  readonly output: DocumentFormat;
}

export interface TokenCreateOptions extends TokenOptions {
  readonly ttl?: string;
  readonly description?: string;
  readonly groups?: readonly string[];
  readonly usages?: readonly string[];
  readonly config?: string;
  readonly certificateKey?: string;
  readonly printJoinCommand?: boolean;
}

const KUBE_SYSTEM = 'kube-system';
const DEFAULT_TTL = '24h';

/** `tkadm token create`: one token, or those of an InitConfiguration. Everything is checked before the first write. */
export async function runTokenCreate(
  context: CliContext,
  text: string | undefined,
  options: TokenCreateOptions,
): Promise<void> {
  const tokens =
    options.config === undefined ? [tokenOfFlags(text, options)] : await tokensOfFile(context, text, options);
  const now = context.now();
  const secrets = tokens.map((token) => buildTokenSecret({ ...token, expiresAt: tokenExpiry(token, now) }));
  checkCertificateKey(options);
  const needsCluster = !options.dryRun || options.printJoinCommand;
  const config = needsCluster ? await loadConfig(context, options) : undefined;
  const { token } = tokens[0]!;
  const joinCommand =
    options.printJoinCommand && config
      ? formatJoinCommand({
          program: programName(context),
          config,
          token,
          certificateKey: options.certificateKey,
        })
      : undefined;
  if (config && !options.dryRun) {
    await withClient(config, async (client) => {
      for (const secret of secrets) await client.create(SECRETS, secret).catch(explainExisting);
    });
  }
  const expires = tokenExpiry(tokens[0]!, now)?.toISOString();
  const data = {
    token,
    ...(expires ? { expires } : {}),
    ...(joinCommand ? { joinCommand } : {}),
    ...(options.dryRun ? { isDryRun: true } : {}),
  };
  if (options.dryRun) {
    for (const secret of secrets)
      context.writeError(`would create Secret ${KUBE_SYSTEM}/${secret.metadata?.name}\n`);
  }
  writeData(context, options.output, data, `${joinCommand ?? token}\n`);
}

/** @throws TOKEN_INVALID, FLAG_INVALID */
function tokenOfFlags(text: string | undefined, options: TokenCreateOptions): BootstrapTokenConfig {
  const usages = options.usages ?? TOKEN_USAGES;
  if (usages.length === 0) {
    throw new TkadmError('TOKEN_INVALID', 'Cannot use a token without usages: it would be good for nothing', {
      hint: 'tkadm token create --help',
    });
  }
  return {
    token: text ?? generateToken(randomBytes),
    ttl: parseTtl(options.ttl ?? DEFAULT_TTL),
    ...(options.description ? { description: options.description } : {}),
    usages,
    groups: options.groups ?? (usages.includes('authentication') ? [DEFAULT_TOKEN_GROUP] : []),
  };
}

/** @throws CONFIG_FLAGS_MIXED, CONFIG_INVALID */
async function tokensOfFile(
  context: CliContext,
  text: string | undefined,
  options: TokenCreateOptions,
): Promise<readonly BootstrapTokenConfig[]> {
  const mixed = [
    ...(text === undefined ? [] : ['token']),
    ...(['ttl', 'description', 'groups', 'usages'] as const).filter((name) => options[name] !== undefined),
  ];
  if (mixed.length > 0) {
    throw new TkadmError(
      'CONFIG_FLAGS_MIXED',
      `Cannot mix '--config' with arguments [${mixed.join(' ')}]: the file holds these settings`,
      { hint: 'Write the settings into bootstrapTokens of the file, or leave --config out' },
    );
  }
  const [{ loadConfiguration }, { ANY_MACHINE }] = await Promise.all([
    import('../config/load.ts'),
    import('../config/defaults.ts'),
  ]);
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: await readInput(context, options.config ?? ''),
    path: options.config,
    isStrict: false,
    defaultsFrom: ANY_MACHINE,
  });
  for (const warning of warnings) context.writeError(`Warning: ${warning}\n`);
  return config.bootstrapTokens;
}

/** @throws USAGE; the message does not repeat the key. */
function checkCertificateKey({ certificateKey, printJoinCommand }: TokenCreateOptions): void {
  if (certificateKey === undefined) return;
  if (!printJoinCommand)
    throw new TkadmError('USAGE', 'Cannot use --certificate-key: it is only printed by --print-join-command');
  if (/^[0-9a-fA-F]{64}$/.test(certificateKey)) return;
  throw new TkadmError('USAGE', 'Cannot use the certificate key: it is not 32 bytes in hexadecimal', {
    hint: 'tkadm certs certificate-key makes one',
  });
}

function explainExisting(error: unknown): never {
  if (!isApiError(error, 'AlreadyExists')) throw error;
  const id = error.status.details?.name?.replace('bootstrap-token-', '') ?? '';
  throw new TkadmError('TOKEN_EXISTS', `Cannot create token "${id}": there is one with that id`, {
    cause: error,
    hint: `tkadm token delete ${id}, or choose another id`,
  });
}

/**
 * `tkadm token list`: tokens in full, as kubeadm's; who may list them may read their Secrets too. For programs one
 * BootstrapToken document for each token, kubeadm's form.
 */
export async function runTokenList(context: CliContext, options: TokenOptions): Promise<void> {
  const { items } = await withClient(await loadConfig(context, options), (client) =>
    client.list(SECRETS, { namespace: KUBE_SYSTEM, fieldSelector: 'type=bootstrap.kubernetes.io/token' }),
  );
  const tokens = items.flatMap((secret) => readTokenSecret(secret) ?? []);
  const table = formatTable(formatTokenRows(tokens, context.now()));
  writeDocuments(context, options.output, tokens.map(buildTokenDocument), table);
}

/** `tkadm token delete`: by id or in full. Every name is checked before the first is deleted. */
export async function runTokenDelete(
  context: CliContext,
  tokens: readonly string[],
  options: TokenOptions,
): Promise<void> {
  const ids = tokens.map(parseTokenId);
  await withClient(await loadConfig(context, options), async (client) => {
    for (const id of ids) await deleteToken(client, id, options.dryRun ?? false);
  });
  const verb = options.dryRun ? 'would be deleted' : 'deleted';
  const text = ids.map((id) => `bootstrap token "${id}" ${verb}\n`).join('');
  const data = { deleted: ids, ...(options.dryRun ? { isDryRun: true } : {}) };
  writeData(context, options.output, data, text);
}

/** @throws TOKEN_NOT_FOUND */
async function deleteToken(client: ApiClient, id: string, isDryRun: boolean): Promise<void> {
  const ref = { name: `bootstrap-token-${id}`, namespace: KUBE_SYSTEM };
  const request = isDryRun ? client.get(SECRETS, ref) : client.delete(SECRETS, ref);
  await request.catch((error) => {
    if (!isApiError(error, 'NotFound')) throw error;
    throw new TkadmError('TOKEN_NOT_FOUND', `Cannot delete token "${id}": there is none with that id`, {
      cause: error,
      hint: 'tkadm token list',
    });
  });
}

/** `tkadm token generate` */
export function runTokenGenerate(context: CliContext, { output }: Pick<TokenOptions, 'output'>): void {
  const token = generateToken(randomBytes);
  writeData(context, output, { token }, `${token}\n`);
}

async function loadConfig(context: CliContext, options: TokenOptions): Promise<ClientConfig> {
  const path = options.kubeconfig ?? (context.env['KUBECONFIG'] || `${PATHS.kubernetes}/admin.conf`);
  if (await context.fileExists(path)) return loadClientConfig(path);
  throw new TkadmError('USAGE', `Cannot reach the cluster: no kubeconfig at "${path}"`, {
    hint: 'tkadm token ... --kubeconfig FILE',
  });
}

async function withClient<T>(config: ClientConfig, use: (client: ApiClient) => Promise<T>): Promise<T> {
  const client = new ApiClient(config);
  return use(client).finally(() => client.close());
}
