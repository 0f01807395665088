import { KUBERNETES_VERSION, VERSION } from '../../runtime/base/version.ts';
import type { CommandRow } from './command.ts';

/** What this package is. */
export const VERSION_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'version',
    description: 'Print the version',
    flags: [['-o, --output <format>', 'output format', { choices: ['text', 'short', 'json', 'yaml'] }]],
    run: async (context, { output }: { readonly output: string }) => {
      const { printVersion } = await import('../commands/version.ts');
      printVersion(context, output, { tkadm: VERSION, kubernetes: KUBERNETES_VERSION });
    },
  },
];
