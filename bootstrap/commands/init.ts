import { formatCaPin } from '../../pki/certificate.ts';
import { formatHostPort } from '../../runtime/base/cidr.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { loadConfiguration } from '../config/load.ts';
import type { InitConfig } from '../config/types.ts';
import { readCaBundle } from '../phases/files.ts';
import { INIT_PHASES } from '../phases/init.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { formatTable } from '../render/table.ts';
import { type CliContext, programName, readInput } from './context.ts';
import { observeMachine } from './machine.ts';
import { writeData } from './output.ts';
import { collectOverrides } from './overrides.ts';
import { requireRoot } from './require-root.ts';
import { runCommandPhases } from './run.ts';

export interface InitOptions {
  readonly config?: string;
  readonly fix?: boolean;
  readonly output: OutputFormat;
  readonly skipTokenPrint?: boolean;
  /** `init phase NAME` */
  readonly onlyPhase?: string;
}

/** `tkadm init`: makes this machine a one-node cluster. */
export async function runInit(context: CliContext, options: InitOptions): Promise<void> {
  const host = createLocalHost();
  const text = options.config === undefined ? undefined : await readInput(context, options.config);
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text,
    overrides: collectOverrides('InitConfiguration', options as unknown as Record<string, unknown>),
    defaultsFrom: await observeMachine(host),
  });
  if (config.tkadm.engine !== 'embedded' || config.tkadm.store !== 'embedded') {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot init with engine "${config.tkadm.engine}" and store "${config.tkadm.store}": only the embedded ones are there yet`,
    );
  }
  requireRoot(context);
  const initSystem = await detectInitSystem(host);
  await runCommandPhases({
    command: 'init',
    cli: context,
    host,
    phases: INIT_PHASES,
    output: options.output,
    skip: config.skipPhases,
    only: options.onlyPhase === undefined ? undefined : [options.onlyPhase],
    isDryRun: config.isDryRun,
    kubeconfig: `${PATHS.kubernetes}/admin.conf`,
    superKubeconfig: `${PATHS.kubernetes}/super-admin.conf`,
    buildContext: ({ api, host: seenHost, warn }) => {
      for (const warning of warnings) warn(warning);
      return {
        config,
        host: seenHost,
        now: context.now,
        shouldFix: options.fix ?? false,
        initSystem,
        env: context.env,
        api,
        warn,
      };
    },
    finish: async () => {
      if (config.isDryRun || options.onlyPhase !== undefined) return { text: '', data: {} };
      return describeCluster(config, {
        host,
        hidesToken: options.skipTokenPrint ?? false,
        program: programName(context),
      });
    },
  });
}

/** `tkadm init phase`: the phases in their order. */
export function listInitPhases(context: CliContext, output: string): void {
  const phases = INIT_PHASES.map(({ name, summary }) => ({ name, summary }));
  writeData(context, output, { phases }, formatTable(phases.map((phase) => [phase.name, phase.summary])));
}

interface Description {
  readonly host: ReturnType<typeof createLocalHost>;
  readonly hidesToken: boolean;
  /** How the reader calls this command. */
  readonly program: string;
}

async function describeCluster(config: InitConfig, { host, hidesToken, program }: Description) {
  const { advertiseAddress, bindPort } = config.localAPIEndpoint;
  const endpoint = config.cluster.controlPlaneEndpoint ?? formatHostPort(advertiseAddress, bindPort);
  const pin = formatCaPin(await readCaBundle(host, config.cluster.certificatesDir));
  const token = hidesToken ? '<token>' : (config.bootstrapTokens[0]?.token ?? '<token>');
  const kubeconfig = `${PATHS.kubernetes}/admin.conf`;
  const joinCommand = `${program} join ${endpoint} --token ${token} --discovery-token-ca-cert-hash ${pin}`;
  const text = `
Your Kubernetes cluster is up.

  export KUBECONFIG=${kubeconfig}
  kubectl get nodes,pods -A

Add a machine, on the machine itself:

  ${program} join ${endpoint} --token ${token} \\
	--discovery-token-ca-cert-hash ${pin}

or from here over SSH (root, or a user with sudo; nothing needs to be installed there):

  ${program} join root@MACHINE

Undo everything: ${program} reset
`;
  return { text, data: { kubeconfig, endpoint, caCertHash: pin, ...(hidesToken ? {} : { joinCommand }) } };
}
