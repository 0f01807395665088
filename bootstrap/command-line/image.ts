import type { CommandRow } from './command.ts';
import { type Flag, REPEAT } from './flag.ts';
import { FLAGS, flags } from './flags.ts';

const load = () => import('../commands/image.ts');
const loadArchive = () => import('../commands/image-archive.ts');
const loadBuild = () => import('../commands/image-build.ts');

const REGISTRY: readonly Flag[] = [
  ['--plain-http', 'talk HTTP to the registry'],
  ['--authfile <file>', "credentials (default: docker's ~/.docker/config.json)"],
];

/** Images of this node. */
export const IMAGE_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'image',
    description: 'Images of this node',
    commands: [
      {
        usage: 'build <context>',
        description: 'Build an image from a Dockerfile',
        flags: [
          ['-f, --file <file>', 'the Dockerfile, "-" for standard input (default: CONTEXT/Dockerfile)'],
          ['-t, --tag <name>', 'name of the image', { ...REPEAT, isRequired: true }],
          ['--build-arg <name=value>', 'value of an ARG', REPEAT],
          ['--secret <id=name,src=file>', 'for RUN --mount=type=secret; also id=NAME,env=VARIABLE', REPEAT],
          ['--target <stage>', 'last stage to build'],
          ['--platform <os/arch>', "the image's platform, which must be this machine's"],
          ['--no-cache', 'run every instruction'],
          ['--pull', 'ask the registries for base images that are here too'],
          FLAGS.output,
        ],
        run: async (context, options, path) => (await loadBuild()).runImageBuild(context, path, options),
      },
      {
        usage: 'load',
        description: 'Load images from a docker-archive or OCI archive',
        flags: [
          ['-i, --input <file>', 'the archive, "-" for standard input', { isRequired: true }],
          FLAGS.output,
        ],
        run: async (context, options) => (await loadArchive()).runImageLoad(context, options),
      },
      {
        usage: 'pull <name>',
        description: 'Pull an image from its registry',
        flags: [
          ['--platform <os/arch>', "linux/amd64 or linux/arm64 (default: this machine's)"],
          ['--all-platforms', 'every image of an index, so that "push" makes an index again'],
          ...REGISTRY,
          FLAGS.output,
        ],
        run: async (context, options, name) => (await load()).runImagePull(context, name, options),
      },
      {
        usage: 'push <name>',
        description: 'Push an image to the registry of its name',
        flags: [...REGISTRY, FLAGS.output],
        run: async (context, options, name) => (await load()).runImagePush(context, name, options),
      },
      {
        usage: 'tag <source> <target>',
        description: 'Give an image one more name',
        flags: flags('output'),
        run: async (context, options, source, target) =>
          (await load()).runImageTag(context, { source, target }, options),
      },
      {
        usage: 'save <names...>',
        description: 'Write images to an archive, for "load" here or elsewhere',
        flags: [
          ['-f, --file <file>', 'the archive, "-" for standard output', { isRequired: true }],
          FLAGS.output,
        ],
        run: async (context, options, names) => (await loadArchive()).runImageSave(context, names, options),
      },
      {
        usage: 'inspect <names...>',
        description: 'Show all about images',
        flags: flags('output'),
        run: async (context, options, names) => (await load()).runImageInspect(context, names, options),
      },
      {
        usage: 'history <name>',
        description: 'Show how the layers of an image were made',
        flags: flags('output'),
        run: async (context, options, name) => (await load()).runImageHistory(context, name, options),
      },
      {
        usage: 'ls',
        description: 'List the images',
        flags: flags('output'),
        run: async (context, options) => (await load()).runImageList(context, options),
      },
      {
        usage: 'rm <names...>',
        description: 'Remove images',
        flags: flags('output'),
        run: async (context, options, names) => (await load()).runImageRemove(context, names, options),
      },
      {
        usage: 'prune',
        description: 'Remove images without a name',
        flags: [
          ['-a, --all', 'also those with names, when no container uses them'],
          ['--build-cache', 'also what builds have cached'],
          FLAGS.output,
        ],
        run: async (context, options) => (await load()).runImagePrune(context, options),
      },
    ],
  },
];
