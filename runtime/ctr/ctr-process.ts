import { TkadmError } from '../base/errors.ts';
import { buildCapabilities } from '../container/capability-sets.ts';
import type { OciProcess } from '../container/oci-spec.ts';
import { directoriesOf } from '../image/container-files.ts';
import { type Accounts, readAccounts, resolveUser } from '../image/process-user.ts';
import { type CtrContext, containerFiles, latest } from './ctr-context.ts';
import type { CtrRecord } from './ctr-record.ts';

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The first process of a container. @throws CRI_INVALID, CTR_REQUEST_INVALID for a user or group that the image has not */
export async function buildProcess(
  context: CtrContext,
  record: CtrRecord,
  capabilities: NonNullable<OciProcess['capabilities']>,
): Promise<OciProcess> {
  const { options, config } = record;
  const accounts = await readContainerAccounts(context, record);
  const user = processUser(accounts, config.user, options.groups);
  return {
    terminal: options.hasTerminal,
    user,
    args: config.args,
    env: buildEnv(config.env, options.hasTerminal, config.hostname),
    cwd: config.workingDir || '/',
    capabilities,
    noNewPrivileges: options.hasNoNewPrivileges,
    ...(options.apparmorProfile === undefined ? {} : { apparmorProfile: options.apparmorProfile }),
    rlimits: options.ulimits.map(({ name, soft, hard }) => ({
      type: `RLIMIT_${name.toUpperCase()}`,
      soft,
      hard,
    })),
    ...(options.oomScoreAdj === undefined ? {} : { oomScoreAdj: options.oomScoreAdj }),
  };
}

/** The account databases as the container has them now. */
function readContainerAccounts(context: CtrContext, record: CtrRecord): Promise<Accounts> {
  return readAccounts(directoriesOf(containerFiles(context, record)));
}

/** "user[:group]" and further groups, by name or number. @throws CRI_INVALID, CTR_REQUEST_INVALID */
function processUser(accounts: Accounts, user: string, groups: readonly string[]) {
  const supplementalGroups = groups.map((name) => findGroup(accounts.group, name));
  const { uid, gid, additionalGids } = resolveUser(accounts, { supplementalGroups }, user);
  return { uid, gid, additionalGids };
}

function findGroup(group: string, wanted: string): number {
  if (/^\d+$/.test(wanted)) return Number(wanted);
  const line = group.split('\n').find((entry) => entry.split(':')[0] === wanted);
  if (line !== undefined) return Number(line.split(':')[2]);
  throw new TkadmError('CTR_REQUEST_INVALID', `Cannot add group "${wanted}": the image has no such group`);
}

/** The environment of a process: what is given over what every container has. HOME comes with the user. */
function buildEnv(given: readonly string[], hasTerminal: boolean, hostname: string): readonly string[] {
  const env = new Map<string, string>();
  const set = (entry: string) => env.set(entry.split('=', 1)[0] ?? '', entry);
  for (const entry of [DEFAULT_PATH, `HOSTNAME=${hostname}`]) set(entry);
  if (hasTerminal) set('TERM=xterm');
  for (const entry of given) set(entry);
  return [...env.values()];
}

/** The process of an exec: the container's own with what the caller changes. */
export async function buildExecProcess(
  context: CtrContext,
  id: string,
  wish: {
    readonly args: readonly string[];
    readonly env: readonly string[];
    readonly user?: string | undefined;
    readonly workingDir?: string | undefined;
    readonly hasTerminal: boolean;
    readonly isPrivileged: boolean;
  },
): Promise<OciProcess> {
  const record = latest(context, id);
  const { options, config } = record;
  const { isPrivileged } = wish;
  const accounts = await readContainerAccounts(context, record);
  const user = processUser(accounts, wish.user ?? config.user, options.groups);
  const capabilities = buildCapabilities(
    { addCapabilities: options.capAdd, dropCapabilities: options.capDrop },
    isPrivileged || options.isPrivileged,
    context.capabilities,
  );
  return {
    ...record.process!,
    terminal: wish.hasTerminal,
    args: wish.args,
    user,
    env: buildEnv([...config.env, ...wish.env], wish.hasTerminal, config.hostname),
    cwd: wish.workingDir ?? (config.workingDir || '/'),
    capabilities,
    ...(isPrivileged && { noNewPrivileges: false }),
  };
}
