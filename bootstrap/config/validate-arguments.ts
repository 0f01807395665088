import { AGENT_FLAGS } from '../../runtime/agent/options.ts';
import { isTkadmError } from '../../runtime/base/errors.ts';
import { type FlagRow, parseFlags } from '../../runtime/base/flags.ts';
import { findSimilar } from '../../runtime/base/similar.ts';
import { ADMISSION_PLUGINS, API_SERVER_FLAGS } from '../../runtime/controlplane/apiserver/flags.ts';
import { FLAGS as CONTROLLER_FLAGS } from '../../runtime/controlplane/controllers/flags.ts';
import { FLAGS as SCHEDULER_FLAGS } from '../../runtime/controlplane/scheduler/flags.ts';
import type { Checker } from './problems.ts';
import type { ClusterConfiguration, NameValue, NodeRegistration, TkadmConfiguration } from './types.ts';

interface Program {
  readonly name: string;
  readonly path: string;
  readonly flags: readonly FlagRow[];
}

/** The programs that get arguments of a ClusterConfiguration. */
const CONTROL_PLANE = [
  { name: 'kube-apiserver', path: 'apiServer', flags: API_SERVER_FLAGS },
  { name: 'kube-controller-manager', path: 'controllerManager', flags: CONTROLLER_FLAGS },
  { name: 'kube-scheduler', path: 'scheduler', flags: SCHEDULER_FLAGS },
] as const satisfies readonly Program[];

/** Refuses arguments that the embedded programs do not have: they would end at once, and init would wait for them. */
export function validateControlPlaneArguments(
  cluster: ClusterConfiguration,
  { engine }: TkadmConfiguration,
  check: Checker,
): void {
  if (engine !== 'embedded') return;
  for (const program of CONTROL_PLANE) {
    const path = `${program.path}.extraArgs`;
    checkArguments(cluster[program.path].extraArgs, { ...program, path }, check);
  }
  checkPlugins(cluster.apiServer.extraArgs, check);
}

/** The same for the arguments of the node agent. */
export function validateAgentArguments(
  { kubeletExtraArgs }: NodeRegistration,
  { engine }: TkadmConfiguration,
  check: Checker,
): void {
  if (engine !== 'embedded') return;
  const path = 'nodeRegistration.kubeletExtraArgs';
  checkArguments(kubeletExtraArgs, { name: 'tkadm-agent', path, flags: AGENT_FLAGS }, check);
}

function checkArguments(
  args: readonly NameValue[],
  { name: program, path, flags }: Program,
  check: Checker,
): void {
  for (const [i, { name, value }] of args.entries()) {
    // Dashes and spaces are told by the rules of every engine.
    if (!/^[a-zA-Z][\w.-]*$/.test(name)) continue;
    const row = flags.find((candidate) => candidate.name === name);
    if (row) checkValue(row, value, { path: `${path}[${i}].value`, check });
    else {
      const similar = findSimilar(
        name,
        flags.map((candidate) => candidate.name),
      );
      const advice = similar === undefined ? '' : `; is "${similar}" meant?`;
      check.invalid(
        `${path}[${i}].name`,
        name,
        `${program} of the embedded engine has no such flag${advice}`,
      );
    }
  }
}

function checkValue(
  row: FlagRow,
  value: string,
  { path, check }: { readonly path: string; readonly check: Checker },
): void {
  try {
    parseFlags([row], [`--${row.name}=${value}`]);
  } catch (error) {
    if (!isTkadmError(error)) throw error;
    check.invalid(path, value, `it must be of the kind "${row.kind}", as --${row.name} is`);
  }
}

function checkPlugins(args: readonly NameValue[], check: Checker): void {
  for (const [i, { name, value }] of args.entries()) {
    if (name !== 'enable-admission-plugins' && name !== 'disable-admission-plugins') continue;
    const unknown = value.split(',').filter((plugin) => plugin !== '' && !ADMISSION_PLUGINS.includes(plugin));
    if (unknown.length > 0) {
      check.invalid(
        `apiServer.extraArgs[${i}].value`,
        value,
        `kube-apiserver of the embedded engine has no plugin ${unknown.join(', ')}; it has ${ADMISSION_PLUGINS.join(', ')}`,
      );
    }
  }
}
