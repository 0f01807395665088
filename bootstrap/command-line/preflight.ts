import type { CliContext } from '../commands/context.ts';
import { INIT_FLAGS, JOIN_FLAGS } from './cluster.ts';
import type { CommandRow } from './command.ts';
import { described } from './flag.ts';
import { FLAGS, flags } from './flags.ts';

type Checked = 'init' | 'join' | 'upgrade' | 'reset';

async function run(context: CliContext, command: Checked, options: never, address?: string): Promise<number> {
  const { runPreflightCommand } = await import('../commands/preflight.ts');
  return runPreflightCommand(context, { command, address }, options);
}

const ofDocument = (kind: string) => [
  described(FLAGS.config, `kubeadm.k8s.io/v1beta4 ${kind}, "-" for standard input`),
  ...flags('ignore-preflight-errors', 'kubeconfig', 'fix'),
  described(FLAGS['dry-run'], 'show what would be repaired, change nothing'),
  FLAGS.output,
];

/** The checks alone. */
export const PREFLIGHT_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'preflight',
    description: 'Run the checks of a command alone (default: init)',
    commands: [
      {
        usage: 'init',
        description: 'The checks of init',
        isDefault: true,
        flags: [...INIT_FLAGS, ['--list', 'show the table of all checks']],
        run: (context, options) => run(context, 'init', options),
      },
      {
        usage: 'join [address]',
        description: 'The checks of join',
        flags: JOIN_FLAGS,
        run: (context, options, address) => run(context, 'join', options, address),
      },
      {
        usage: 'upgrade',
        description: 'The checks of upgrade',
        flags: ofDocument('UpgradeConfiguration'),
        run: (context, options) => run(context, 'upgrade', options),
      },
      {
        usage: 'reset',
        description: 'The checks of reset',
        flags: ofDocument('ResetConfiguration'),
        run: (context, options) => run(context, 'reset', options),
      },
    ],
  },
];
