import { createBatchedHost } from '../../preflight/batch.ts';
import { ERRORS, EXIT_CODES, TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { diagnose, type Visit } from '../diagnose/diagnose.ts';
import type { Subject } from '../diagnose/evidence.ts';
import { isFaulty } from '../diagnose/rank.ts';
import { describeDiagnosis, formatDiagnosis } from '../render/diagnosis.ts';
import { withMachine } from '../ssh/remote-command.ts';
import { openCluster } from './cluster-client.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';
import { buildSshSettings, type SshOptions } from './ssh-settings.ts';

export interface WhyOptions extends SshOptions {
  readonly output: string;
  readonly kubeconfig?: string;
  /** False with --no-ssh. */
  readonly ssh?: boolean;
}

/** Node.js of a node, which comes with the bundle. */
export const BUNDLED_NODE = `${PATHS.bundle}/current/rootfs/usr/bin/node`;

/** `tkadm why`: names what is wrong, and the fix. Returns the exit code: 0 when nothing is. */
export async function runWhy(context: CliContext, options: WhyOptions, text?: string): Promise<number> {
  const diagnosis = await diagnose({
    subject: parseSubject(text),
    host: createLocalHost(),
    nodePath: context.nodePath,
    remoteNodePath: BUNDLED_NODE,
    api: openCluster(context, options.kubeconfig),
    now: context.now,
    visit: options.ssh === false ? undefined : createVisit(context, options),
  });
  const isRoot = context.uid === 0;
  const unseen = isRoot ? diagnosis.unseen : [...diagnosis.unseen, `what only root may see: sudo tkadm why`];
  const told = { ...diagnosis, unseen };
  const shown = formatDiagnosis(told, context.terminal.size()?.columns);
  writeData(context, options.output, describeDiagnosis(told), shown);
  return isFaulty(diagnosis.findings) ? EXIT_CODES[ERRORS.FAULT_FOUND] : 0;
}

/** Over SSH each look is a session: those of one time go together. */
function createVisit(context: CliContext, options: WhyOptions): Visit {
  const settings = { ...buildSshSettings(context, options), timeoutMs: 5_000 };
  return (address, work) =>
    withMachine({ host: address }, { settings, signal: context.signal }, (host) =>
      work(createBatchedHost(host)),
    );
}

/** "node/NAME", "pod/NAMESPACE/NAME"; nothing means the cluster. @throws USAGE */
export function parseSubject(text: string | undefined): Subject {
  if (text === undefined) return { kind: 'cluster' };
  const [kind, first, second, ...rest] = text.split('/');
  if (rest.length === 0 && (kind === 'node' || kind === 'nodes') && first && second === undefined)
    return { kind: 'node', name: first };
  if (rest.length === 0 && (kind === 'pod' || kind === 'pods') && first)
    return second
      ? { kind: 'pod', namespace: first, name: second }
      : { kind: 'pod', namespace: 'default', name: first };
  throw new TkadmError('USAGE', `Cannot look at "${text}": it is neither node/NAME nor pod/NAMESPACE/NAME`, {
    hint: 'tkadm why node/NAME; tkadm why pod/NAMESPACE/NAME; tkadm why',
  });
}
