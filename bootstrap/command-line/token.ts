import type { CommandRow } from './command.ts';
import { described, LIST } from './flag.ts';
import { FLAGS, flags } from './flags.ts';

const load = () => import('../commands/token.ts');

/** Bootstrap tokens. */
export const TOKEN_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'token',
    description: 'Bootstrap tokens',
    commands: [
      {
        usage: 'create [token]',
        description: 'Create a token',
        flags: [
          ...flags('kubeconfig', 'dry-run'),
          described(FLAGS.config, 'take the tokens from the bootstrapTokens of an InitConfiguration'),
          ['--ttl <duration>', 'life of the token, 0 for ever (default: 24h)'],
          ['--description <text>', 'what it is for'],
          ['--groups <groups>', 'groups of its user, system:bootstrappers:...', LIST],
          ['--usages <usages>', 'signing, authentication (default: both)', LIST],
          ['--print-join-command', 'print the whole join command'],
          described(FLAGS['certificate-key'], 'with --print-join-command: join as control plane'),
          FLAGS.output,
        ],
        run: async (context, options, token) => (await load()).runTokenCreate(context, token, options),
      },
      {
        usage: 'list',
        description: 'List the tokens, in full',
        flags: flags('kubeconfig', 'dry-run', 'output'),
        run: async (context, options) => (await load()).runTokenList(context, options),
      },
      {
        usage: 'delete <tokens...>',
        description: 'Delete tokens, by id or in full',
        flags: flags('kubeconfig', 'dry-run', 'output'),
        run: async (context, options, tokens) => (await load()).runTokenDelete(context, tokens, options),
      },
      {
        usage: 'generate',
        description: 'Print a random token without creating it',
        flags: flags('output'),
        run: async (context, options) => (await load()).runTokenGenerate(context, options),
      },
    ],
  },
];
