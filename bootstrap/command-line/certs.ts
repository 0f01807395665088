import type { CommandRow } from './command.ts';
import { described, type Flag, REPEAT, REQUIRED } from './flag.ts';
import { FLAGS, flags } from './flags.ts';

const PLACES: readonly Flag[] = [
  described(FLAGS.config, 'configuration documents (default: those of the cluster)'),
  ...flags('cert-dir', 'kubeconfig-dir'),
];

const CERTS: CommandRow = {
  usage: 'certs',
  alias: 'certificates',
  description: 'Certificates of this control-plane node',
  commands: [
    {
      usage: 'check-expiration',
      description: 'Show when certificates end',
      flags: [...PLACES, ...flags('kubeconfig', 'output')],
      run: async (context, options) =>
        (await import('../commands/certs-expiration.ts')).runCheckExpiration(context, options),
    },
    {
      usage: 'renew <name>',
      description: 'Issue a certificate again, or "all", and see it in use',
      flags: [
        ...PLACES,
        FLAGS.kubeconfig,
        ['--no-wait', 'do not look whether the new certificates are in use'],
        FLAGS.output,
      ],
      run: async (context, options, name) =>
        (await import('../commands/certs-renew.ts')).runCertsRenew(context, name, options),
    },
    {
      usage: 'generate-csr',
      description: 'Make keys and certificate requests for an external CA',
      flags: [...PLACES, FLAGS.output],
      run: async (context, options) =>
        (await import('../commands/certs-csr.ts')).runGenerateCsr(context, options),
    },
    {
      usage: 'certificate-key',
      description: 'Print a random key for --certificate-key',
      flags: flags('output'),
      run: async (context, options) =>
        (await import('../commands/certs-csr.ts')).runCertificateKey(context, options),
    },
  ],
};

const KUBECONFIG: CommandRow = {
  usage: 'kubeconfig',
  description: 'Kubeconfig files',
  commands: [
    {
      usage: 'user',
      description: 'Print a kubeconfig for a further user',
      flags: [
        ['--client-name <name>', 'name of the user', REQUIRED],
        ['--org <group>', 'group of the user, an organization of its certificate', REPEAT],
        described(FLAGS.token, 'a token instead of a client certificate'),
        [
          '--validity-period <duration>',
          'life of the certificate (default: that of the configuration, 8760h)',
        ],
        ...PLACES,
        FLAGS.output,
      ],
      run: async (context, options) =>
        (await import('../commands/kubeconfig-user.ts')).runKubeconfigUser(context, options),
    },
  ],
};

/** Certificates, and kubeconfig files made of them. */
export const CERTS_COMMANDS: readonly CommandRow[] = [CERTS, KUBECONFIG];
