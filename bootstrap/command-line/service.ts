import type { CommandRow } from './command.ts';
import { FLAGS, flags } from './flags.ts';

const load = () => import('../commands/service.ts');

/** The host services of a node. */
export const SERVICE_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'service',
    description: 'The host services tkadm-runtime and tkadm-agent',
    commands: [
      {
        usage: 'start [service]',
        description: 'Start the services; "runtime" alone needs no cluster',
        flags: flags('output'),
        run: async (context, options, service) => (await load()).runServiceStart(context, options, service),
      },
      {
        usage: 'stop',
        description: 'Stop the services; containers go on',
        flags: [['--all', 'stop the containers too'], FLAGS.output],
        run: async (context, options) => (await load()).runServiceStop(context, options),
      },
      {
        usage: 'status',
        description: 'Show whether the services run',
        flags: flags('output'),
        run: async (context, options) => (await load()).runServiceStatus(context, options),
      },
    ],
  },
];
