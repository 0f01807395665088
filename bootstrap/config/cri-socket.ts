import { OTHER_CRI_SOCKETS, PATHS } from '../../runtime/base/paths.ts';
import type { DocumentFields } from './defaults.ts';
import type { Checker } from './problems.ts';
import type { ConfigKind, ConfigOfKind, MachineDefaults, TkadmConfiguration } from './types.ts';

/**
 * The container runtime's socket: what the user says, else the embedded engine's own; with the upstream engine the
 * one that is there, else containerd's. A path gets its scheme.
 */
export function completeSocket(
  socket: string | undefined,
  { engine }: Pick<TkadmConfiguration, 'engine'>,
  machine: MachineDefaults,
): string {
  const found = engine === 'embedded' ? PATHS.runtimeSocket : machine.criSockets?.[0];
  const text = socket || found || OTHER_CRI_SOCKETS[0];
  return text.startsWith('/') ? `unix://${text}` : text;
}

/** With the upstream engine and several runtimes on the machine the user must choose. */
export function checkSocketChoice(
  fields: DocumentFields,
  { kind, tkadm }: ConfigOfKind[ConfigKind],
  { machine, checker }: { readonly machine: MachineDefaults; readonly checker: Checker },
): void {
  const sockets = machine.criSockets ?? [];
  const path = SOCKET_FIELDS[kind];
  if (tkadm.engine === 'embedded' || sockets.length < 2 || path === undefined) return;
  if (givenSockets(fields).some(Boolean)) return;
  const found = sockets.map((socket) => `"unix://${socket}"`).join(', ');
  checker
    .of(kind)
    .required(path, `several container runtimes are here: ${found}`, `--cri-socket unix://${sockets[0]}`);
}

/** The sockets that documents name, as they are written. */
export function givenSockets(fields: DocumentFields): readonly (string | undefined)[] {
  const nodes = [fields.InitConfiguration, fields.JoinConfiguration].map(
    (document) => (document?.['nodeRegistration'] as { criSocket?: string } | undefined)?.criSocket,
  );
  return [...nodes, fields.ResetConfiguration?.['criSocket'] as string | undefined];
}

const SOCKET_FIELDS: Readonly<Partial<Record<ConfigKind, string>>> = {
  InitConfiguration: 'nodeRegistration.criSocket',
  JoinConfiguration: 'nodeRegistration.criSocket',
};
