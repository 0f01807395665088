import { TkadmError } from '../base/errors.ts';
import type { NamespaceOption } from './messages/linux.ts';

type Kind = 'network' | 'ipc' | 'uts';

/** Kernel parameters that belong to a namespace (namespaces(7)); a pattern ends with a dot. */
const NAMESPACED = [
  { kind: 'network', pattern: 'net.' },
  { kind: 'ipc', pattern: 'kernel.msgmax' },
  { kind: 'ipc', pattern: 'kernel.msgmnb' },
  { kind: 'ipc', pattern: 'kernel.msgmni' },
  { kind: 'ipc', pattern: 'kernel.sem' },
  { kind: 'ipc', pattern: 'kernel.shmall' },
  { kind: 'ipc', pattern: 'kernel.shmmax' },
  { kind: 'ipc', pattern: 'kernel.shmmni' },
  { kind: 'ipc', pattern: 'kernel.shm_rmid_forced' },
  { kind: 'ipc', pattern: 'fs.mqueue.' },
  { kind: 'uts', pattern: 'kernel.domainname' },
] as const satisfies readonly { readonly kind: Kind; readonly pattern: string }[];

/**
 * Lets a pod set the parameters of its own namespaces alone: any other would be the node's.
 * @throws CRI_INVALID with the parameter's name.
 */
export function checkSysctls(
  sysctls: Readonly<Record<string, string>>,
  options: NamespaceOption | undefined,
): void {
  for (const name of Object.keys(sysctls)) {
    const dotted = name.includes('/') ? name.replaceAll('.', '\0').replaceAll('/', '.') : name;
    const row = NAMESPACED.find(({ pattern }) =>
      pattern.endsWith('.') ? dotted.startsWith(pattern) : dotted === pattern,
    );
    const fail = (state: string) => new TkadmError('CRI_INVALID', `Cannot set sysctl "${name}": ${state}`);
    if (row === undefined) throw fail('it is not of a namespace, but of the node');
    const isNode = row.kind === 'ipc' ? options?.ipc === 'NODE' : options?.network === 'NODE';
    if (isNode) throw fail(`the pod has the node's ${row.kind} namespace`);
  }
}
