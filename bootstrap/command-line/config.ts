import type { CommandRow } from './command.ts';
import { type Flag, LIST, REQUIRED } from './flag.ts';
import { FLAGS, flags } from './flags.ts';

const load = () => import('../commands/config.ts');
const loadImages = () => import('../commands/config-images.ts');

const EXPERIMENTAL: Flag = ['--allow-experimental-api', 'read versions under trial (there is none)'];

const IMAGES_FLAGS = flags(
  'config',
  'cri-socket',
  'engine',
  'feature-gates',
  'image-repository',
  'kubernetes-version',
  'store',
  'output',
);

/** Configuration documents. */
export const CONFIG_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'config',
    description: 'Configuration documents',
    commands: [
      {
        usage: 'print <what>',
        description: 'Print defaults: init-defaults, join-defaults, reset-defaults, upgrade-defaults',
        flags: [
          ['--component-configs <kinds>', 'KubeletConfiguration, KubeProxyConfiguration', LIST],
          ['-o, --output <format>', 'output format', { choices: ['yaml', 'json'] }],
        ],
        run: async (context, options, what) => (await load()).runConfigPrint(context, what, options),
      },
      {
        usage: 'validate',
        description: 'Check a configuration file',
        flags: [
          ['--config <file>', 'the file, "-" for standard input', REQUIRED],
          ['--allow-deprecated-api', 'do not warn of versions that are going out of use'],
          EXPERIMENTAL,
          FLAGS.output,
        ],
        run: async (context, options) => (await load()).runConfigValidate(context, options),
      },
      {
        usage: 'migrate',
        description: 'Print a configuration file in the present version',
        flags: [
          ['--old-config <file>', 'the file, "-" for standard input', REQUIRED],
          ['--new-config <file>', 'where to write the result (default: standard output)'],
          ['--force', 'replace the file of --new-config'],
          EXPERIMENTAL,
        ],
        run: async (context, options) => (await load()).runConfigMigrate(context, options),
      },
      {
        usage: 'images',
        description: 'Images of a control-plane node',
        commands: [
          {
            usage: 'list',
            description: 'List the images',
            flags: IMAGES_FLAGS,
            run: async (context, options) => (await loadImages()).runImagesList(context, options),
          },
          {
            usage: 'pull',
            description: 'Pull the images that the node bundle does not have',
            flags: IMAGES_FLAGS,
            run: async (context, options) => (await loadImages()).runImagesPull(context, options),
          },
        ],
      },
    ],
  },
];
