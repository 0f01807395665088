import { randomBytes } from 'node:crypto';
import { formatCaPin } from '../../pki/certificate.ts';
import { ApiClient, isApiError } from '../../runtime/api/client.ts';
import { SECRETS } from '../../runtime/api/kinds.ts';
import { type ClientConfig, loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  buildTokenSecret,
  DEFAULT_TOKEN_GROUP,
  generateToken,
  parseToken,
  readTokenSecret,
  TOKEN_USAGES,
} from '../tokens/token.ts';
import { type CliContext, programName } from './context.ts';
import { writeData } from './output.ts';

interface KubeconfigOption {
  readonly kubeconfig?: string;
}

export interface TokenCreateOptions extends KubeconfigOption {
  readonly ttl: string;
  readonly description?: string;
  readonly groups?: readonly string[];
  readonly usages?: readonly string[];
  readonly printJoinCommand?: boolean;
  readonly output: string;
}

/** A join over SSH needs its token for minutes. */
const SHORT_TTL_MS = 15 * 60_000;

/** `tkadm token create` */
export async function runTokenCreate(
  context: CliContext,
  text: string | undefined,
  options: TokenCreateOptions,
): Promise<void> {
  const token = text ?? generateToken(randomBytes);
  const ttlMs = parseDuration(options.ttl);
  const config = await loadConfig(context, options);
  const secret = buildTokenSecret({
    token,
    description: options.description,
    expiresAt: ttlMs === 0 ? undefined : new Date(context.now().getTime() + ttlMs),
    usages: options.usages ?? TOKEN_USAGES,
    groups: options.groups ?? [DEFAULT_TOKEN_GROUP],
  });
  await withClient(config, (client) => client.create(SECRETS, secret));
  const joinCommand = options.printJoinCommand
    ? `${programName(context)} ${formatJoinArguments(config, token)}`
    : undefined;
  writeData(
    context,
    options.output,
    { token, ...(joinCommand ? { joinCommand } : {}) },
    `${joinCommand ?? token}\n`,
  );
}

/** `tkadm token list` */
export async function runTokenList(
  context: CliContext,
  options: KubeconfigOption & { readonly output: string },
): Promise<void> {
  const { items } = await withClient(await loadConfig(context, options), (client) =>
    client.list(SECRETS, { namespace: 'kube-system', fieldSelector: 'type=bootstrap.kubernetes.io/token' }),
  );
  const tokens = items.flatMap((secret) => readTokenSecret(secret) ?? []);
  const rows = [
    ['TOKEN', 'EXPIRES', 'USAGES', 'DESCRIPTION', 'EXTRA GROUPS'],
    ...tokens.map((row) => [
      row.token,
      row.expires ?? '<forever>',
      row.usages.join(','),
      row.description || '<none>',
      row.groups.join(',') || '<none>',
    ]),
  ];
  writeData(context, options.output, tokens, formatTable(rows));
}

/** `tkadm token delete` */
export async function runTokenDelete(
  context: CliContext,
  tokens: readonly string[],
  options: KubeconfigOption,
): Promise<void> {
  const ids = tokens.map((text) => (/^[a-z0-9]{6}$/.test(text) ? text : parseToken(text).id));
  await withClient(await loadConfig(context, options), async (client) => {
    for (const id of ids) {
      await client
        .delete(SECRETS, { name: `bootstrap-token-${id}`, namespace: 'kube-system' })
        .catch((error) => {
          throw isApiError(error, 'NotFound') ? unknownToken(id, error) : error;
        });
      context.write(`bootstrap token "${id}" deleted\n`);
    }
  });
}

function unknownToken(id: string, cause: unknown): TkadmError {
  return new TkadmError('TOKEN_NOT_FOUND', `Cannot delete token "${id}": there is none with that id`, {
    cause,
    hint: 'tkadm token list',
  });
}

/** `tkadm token generate` */
export function runTokenGenerate(context: CliContext): void {
  context.write(`${generateToken(randomBytes)}\n`);
}

/** A token for one join, gone after a quarter of an hour. */
export async function createShortLivedToken(
  config: ClientConfig,
  context: Pick<CliContext, 'now'>,
): Promise<string> {
  const token = generateToken(randomBytes);
  const secret = buildTokenSecret({
    token,
    description: 'For a join over SSH',
    expiresAt: new Date(context.now().getTime() + SHORT_TTL_MS),
    usages: TOKEN_USAGES,
    groups: [DEFAULT_TOKEN_GROUP],
  });
  await withClient(config, (client) => client.create(SECRETS, secret));
  return token;
}

/** Columns padded to their widest cell. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('   ')
          .trimEnd()}\n`,
    )
    .join('');
}

async function loadConfig(context: CliContext, options: KubeconfigOption): Promise<ClientConfig> {
  const path = options.kubeconfig ?? context.env['KUBECONFIG'] ?? `${PATHS.kubernetes}/admin.conf`;
  if (await context.fileExists(path)) return loadClientConfig(path);
  throw new TkadmError('USAGE', `Cannot reach the cluster: no kubeconfig at "${path}"`, {
    hint: 'tkadm token ... --kubeconfig FILE',
  });
}

async function withClient<T>(config: ClientConfig, use: (client: ApiClient) => Promise<T>): Promise<T> {
  const client = new ApiClient(config);
  return use(client).finally(() => client.close());
}

function formatJoinArguments(config: ClientConfig, token: string): string {
  const pin = formatCaPin(config.caPem ?? '');
  return `join ${new URL(config.server).host} --token ${token} --discovery-token-ca-cert-hash ${pin}`;
}
