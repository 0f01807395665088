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
        usage: 'stop [service]',
        description: 'Stop the services, or one of them; containers go on',
        flags: [['--all', 'stop the containers too'], FLAGS.output],
        run: async (context, options, service) => (await load()).runServiceStop(context, options, service),
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
