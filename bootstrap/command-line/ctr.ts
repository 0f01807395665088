import type { Command } from 'commander';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { CommandRow } from './command.ts';
import {
  CREATE_FLAGS,
  DETACH_KEYS,
  EXEC_FLAGS,
  RUN_FLAGS,
  SIG_PROXY,
  UPDATE_FLAGS,
} from './ctr-run-flags.ts';
import { type Flag, REPEAT } from './flag.ts';

const loadRun = () => import('../commands/ctr/run.ts');
const loadContainers = () => import('../commands/ctr/containers.ts');
const loadImages = () => import('../commands/ctr/images.ts');
const loadVolumes = () => import('../commands/ctr/volumes.ts');
const loadArchives = () => import('../commands/ctr/archives.ts');
const loadSystem = () => import('../commands/ctr/system.ts');

const FORMAT: Flag = ['--format <template>', 'json, or a template: "{{.Name}}", "table {{.ID}}\\t{{.Name}}"'];
const QUIET: Flag = ['-q, --quiet', 'show ids alone'];
const FILTER: Flag = ['-f, --filter <name=value>', 'show what fits', REPEAT];
const NO_TRUNC: Flag = ['--no-trunc', 'show all of ids and commands'];
const FORCE: Flag = ['-f, --force', 'do not ask'];
const SIZE: Flag = ['-s, --size', 'with what a container has written'];
const STOP: readonly Flag[] = [
  ['-t, --timeout <seconds>', 'time before it is killed, -1 for ever (default: 10)'],
  ['--time <seconds>', 'the same'],
  ['-s, --signal <signal>', "signal to send (default: the container's)"],
];

/** What stands behind the first operand belongs to the program that is run. */
const passOn = (command: Command) => command.passThroughOptions();

/** Words of docker that are not there: each is refused by its name. */
const ABSENT = ['checkpoint', 'compose', 'context', 'login', 'logout', 'plugin', 'search', 'swarm'];
const ABSENT_OF_NETWORK = ['connect', 'create', 'disconnect', 'prune', 'rm'];

const refuse = (name: string): CommandRow => ({
  usage: `${name.split(' ').at(-1)} [words...]`,
  description: 'Not supported',
  isHidden: true,
  configure: (command) => command.allowUnknownOption(),
  run: () => {
    throw new TkadmError('UNSUPPORTED', `Cannot run "tkadm ctr ${name}": it is not supported`, {
      hint: 'tkadm ctr --help',
    });
  },
});

const REFUSED = ABSENT.map(refuse);

const RUNNING: readonly CommandRow[] = [
  {
    usage: 'run <image> [command...]',
    description: 'Create and start a container',
    flags: RUN_FLAGS,
    configure: passOn,
    run: async (context, options, image, command: readonly string[]) =>
      (await loadRun()).runRun(context, options, [image, ...command]),
  },
  {
    usage: 'create <image> [command...]',
    description: 'Create a container',
    flags: CREATE_FLAGS,
    configure: passOn,
    run: async (context, options, image, command: readonly string[]) =>
      (await loadRun()).runCreate(context, options, [image, ...command]),
  },
  {
    usage: 'start <containers...>',
    description: 'Start containers',
    flags: [
      ['-a, --attach', 'show its output, and wait for its end'],
      ['-i, --interactive', 'hand standard input on'],
      DETACH_KEYS,
      SIG_PROXY,
    ],
    run: async (context, options, names) => (await loadRun()).runStart(context, options, names),
  },
  {
    usage: 'attach <container>',
    description: 'Join a running container with this terminal',
    flags: [['--no-stdin', 'do not hand standard input on'], DETACH_KEYS, SIG_PROXY],
    run: async (context, options, name) => (await loadRun()).runAttach(context, options, name),
  },
  {
    usage: 'exec <container> <command...>',
    description: 'Run a further process in a container',
    flags: EXEC_FLAGS,
    configure: passOn,
    run: async (context, options, name, command) =>
      (await loadRun()).runExec(context, options, name, command),
  },
  {
    usage: 'ps',
    description: 'List containers',
    flags: [
      ['-a, --all', 'those that do not run as well'],
      FILTER,
      FORMAT,
      ['-n, --last <n>', 'the last created, of all'],
      ['-l, --latest', 'the last created'],
      NO_TRUNC,
      QUIET,
      ['-s, --size', 'show what they have written'],
    ],
    run: async (context, options) => (await import('../commands/ctr/ps.ts')).runPs(context, options),
  },
  {
    usage: 'logs <container>',
    description: 'Show the output of a container',
    flags: [
      ['-f, --follow', 'go on while it runs'],
      ['--since <time>', 'from a time on, or "10m" ago'],
      ['--until <time>', 'up to a time, or "10m" ago'],
      ['-n, --tail <lines>', 'the last lines alone'],
      ['-t, --timestamps', 'show when each line came'],
    ],
    run: async (context, options, name) => (await loadContainers()).runLogs(context, options, name),
  },
  {
    usage: 'inspect <names...>',
    description: 'Show all about containers, images, volumes and networks',
    flags: [
      ['-f, --format <template>', 'json, or a template: "{{.State.Pid}}"'],
      SIZE,
      ['--type <type>', 'container, image, volume or network'],
    ],
    run: async (context, options, names) =>
      (await import('../commands/ctr/inspect.ts')).runInspect(context, options, names),
  },
  {
    usage: 'stop <containers...>',
    description: 'Stop containers',
    flags: STOP,
    run: async (context, options, names) => (await loadContainers()).runStop(context, options, names),
  },
  {
    usage: 'restart <containers...>',
    description: 'Stop and start containers',
    flags: STOP,
    run: async (context, options, names) => (await loadContainers()).runRestart(context, options, names),
  },
  {
    usage: 'kill <containers...>',
    description: 'Signal containers',
    flags: [['-s, --signal <signal>', 'the signal (default: SIGKILL)']],
    run: async (context, options, names) => (await loadContainers()).runKill(context, options, names),
  },
  {
    usage: 'rm <containers...>',
    description: 'Remove containers',
    flags: [
      ['-f, --force', 'running ones too'],
      ['-v, --volumes', 'with the volumes that were made for them alone'],
    ],
    run: async (context, options, names) => (await loadContainers()).runRm(context, options, names),
  },
  {
    usage: 'pause <containers...>',
    description: 'Freeze all processes of containers',
    run: async (context, _options, names) => (await loadContainers()).runPause(context, 'pause', names),
  },
  {
    usage: 'unpause <containers...>',
    description: 'Let frozen processes go on',
    run: async (context, _options, names) => (await loadContainers()).runPause(context, 'unpause', names),
  },
  {
    usage: 'update <containers...>',
    description: 'Change limits and restart policy of containers',
    flags: UPDATE_FLAGS,
    run: async (context, options, names) => (await loadContainers()).runUpdate(context, options, names),
  },
  {
    usage: 'rename <container> <name>',
    description: 'Give a container another name',
    run: async (context, _options, name, newName) =>
      (await loadContainers()).runRename(context, name, newName),
  },
  {
    usage: 'wait <containers...>',
    description: 'Wait for the end of containers, print their exit codes',
    run: async (context, _options, names) => (await loadContainers()).runWait(context, names),
  },
  {
    usage: 'port <container> [port]',
    description: 'Show published ports',
    run: async (context, _options, name, port) => (await loadContainers()).runPort(context, name, port),
  },
  {
    usage: 'top <container> [options...]',
    description: 'Show the processes of a container',
    configure: passOn,
    run: async (context, _options, name, words) => (await loadContainers()).runTop(context, name, words),
  },
  {
    usage: 'stats [containers...]',
    description: 'Show what containers use',
    flags: [['-a, --all', 'those that do not run as well'], FORMAT, ['--no-stream', 'once'], NO_TRUNC],
    run: async (context, options, names) =>
      (await import('../commands/ctr/stats.ts')).runStats(context, options, names),
  },
  {
    usage: 'events',
    description: 'Show what happens to containers',
    flags: [
      FILTER,
      FORMAT,
      ['--since <time>', 'from a time on, or "10m" ago'],
      ['--until <time>', 'end at a time'],
    ],
    run: async (context, options) => (await import('../commands/ctr/events.ts')).runEvents(context, options),
  },
];

const CHANGE: Flag = ['-c, --change <instruction>', 'CMD, ENV, EXPOSE, ... as in a Dockerfile', REPEAT];

const FILES: readonly CommandRow[] = [
  {
    usage: 'cp <source> <target>',
    description: 'Copy files: one side is CONTAINER:PATH, "-" is a tar',
    flags: [
      ['-a, --archive', 'keep owners'],
      ['-L, --follow-link', 'copy what a link leads to'],
      ['-q, --quiet', 'say nothing'],
    ],
    run: async (context, options, source, target) =>
      (await import('../commands/ctr/cp.ts')).runCp(context, options, source, target),
  },
  {
    usage: 'diff <container>',
    description: 'Show the files that a container has added (A), changed (C) and deleted (D)',
    run: async (context, _options, name) => (await loadContainers()).runDiff(context, name),
  },
  {
    usage: 'commit <container> [image]',
    description: 'Make an image of a container',
    flags: [
      ['-a, --author <name>', 'who made it'],
      CHANGE,
      ['-m, --message <text>', 'what was done'],
      ['-p, --pause <pause>', 'pause it meanwhile', { choices: ['true', 'false'] }],
    ],
    run: async (context, options, name, image) =>
      (await loadContainers()).runCommit(context, options, name, image),
  },
];

const ARCHIVES: readonly CommandRow[] = [
  {
    usage: 'export <container>',
    description: 'Write the files of a container to a tar',
    flags: [['-o, --output <file>', 'the tar (default: standard output)']],
    run: async (context, options, name) => (await loadArchives()).runExport(context, options, name),
  },
  {
    usage: 'import <file> [image]',
    description: 'Make an image of a tar of files, "-" is standard input',
    flags: [CHANGE, ['-m, --message <text>', 'what was done']],
    run: async (context, options, file, image) =>
      (await loadArchives()).runImport(context, options, { file, image }),
  },
];

const IMAGES: readonly CommandRow[] = [
  {
    usage: 'images [name]',
    description: 'List images',
    flags: [
      ['-a, --all', 'the same: there are no others'],
      ['--digests', 'show digests'],
      FILTER,
      FORMAT,
      NO_TRUNC,
      QUIET,
    ],
    run: async (context, options, name) => (await loadImages()).runImages(context, options, name),
  },
  {
    usage: 'pull <image>',
    description: 'Pull an image from its registry',
    flags: [
      ['--platform <platform>', 'linux/amd64 or linux/arm64, as the machine is'],
      ['-q, --quiet', 'do not show progress'],
    ],
    run: async (context, options, name) => (await loadImages()).runPull(context, options, name),
  },
  {
    usage: 'push <image>',
    description: 'Push an image to the registry of its name',
    flags: [['-q, --quiet', 'do not show progress']],
    run: async (context, options, name) => (await loadImages()).runPush(context, options, name),
  },
  {
    usage: 'build <path>',
    description: 'Build an image from a Dockerfile',
    flags: [
      ['-t, --tag <name>', 'name of the image', REPEAT],
      ['-f, --file <file>', 'the Dockerfile (default: PATH/Dockerfile)'],
      ['--build-arg <name=value>', 'value of an ARG', REPEAT],
      ['--target <stage>', 'last stage to build'],
      ['--no-cache', 'run every instruction'],
      ['--platform <platform>', 'linux/amd64 or linux/arm64, as the machine is'],
      ['--pull', 'ask the registries for base images that are here too'],
      ['--secret <id=name,src=file>', 'for RUN --mount=type=secret; also id=NAME,env=VARIABLE', REPEAT],
      ['--iidfile <file>', 'write the id to a file'],
      ['-q, --quiet', 'show the id alone'],
    ],
    run: async (context, options, path) => (await loadImages()).runBuild(context, options, path),
  },
  {
    usage: 'tag <source> <target>',
    description: 'Give an image one more name',
    run: async (context, _options, source, target) => (await loadImages()).runTag(context, source, target),
  },
  {
    usage: 'rmi <images...>',
    description: 'Remove images',
    flags: [['-f, --force', 'also when a container has it']],
    run: async (context, options, names) => (await loadImages()).runRmi(context, options, names),
  },
  {
    usage: 'save <images...>',
    description: 'Write images to an archive',
    flags: [['-o, --output <file>', 'the archive (default: standard output)']],
    run: async (context, options, names) => (await loadImages()).runSave(context, options, names),
  },
  {
    usage: 'load',
    description: 'Load images from an archive',
    flags: [
      ['-i, --input <file>', 'the archive (default: standard input)'],
      ['-q, --quiet', 'the same: no progress is shown'],
    ],
    run: async (context, options) => (await loadImages()).runLoad(context, options),
  },
  {
    usage: 'history <image>',
    description: 'Show how the layers of an image were made',
    flags: [FORMAT, NO_TRUNC, QUIET],
    run: async (context, options, name) => (await loadImages()).runHistory(context, options, name),
  },
];

/** The rows of a group, `ctr container ...`: those without a group, some under another name, but `absent`. */
function groupOf(
  rows: readonly CommandRow[],
  absent: readonly string[],
  renamed: Readonly<Record<string, string>>,
): readonly CommandRow[] {
  const nameOf = ({ usage }: CommandRow) => usage.split(' ', 1)[0]!;
  return rows
    .filter((row) => !absent.includes(nameOf(row)))
    .map((row) => {
      const name = nameOf(row);
      return { ...row, usage: `${renamed[name] ?? name}${row.usage.slice(name.length)}` };
    });
}

const ABSENT_OF_CONTAINER = ['inspect', 'events', 'import'];

const INSPECT: readonly Flag[] = [['-f, --format <template>', 'json, or a template: "{{.Name}}"']];

const GROUPS: readonly CommandRow[] = [
  {
    usage: 'volume',
    description: 'Directories that outlive containers',
    commands: [
      {
        usage: 'create [name]',
        description: 'Make a volume',
        flags: [
          ['-d, --driver <name>', 'local'],
          ['--label <name=value>', 'label', REPEAT],
        ],
        run: async (context, options, name) => (await loadVolumes()).runVolumeCreate(context, options, name),
      },
      {
        usage: 'ls',
        description: 'List volumes',
        flags: [FILTER, FORMAT, QUIET],
        run: async (context, options) => (await loadVolumes()).runVolumeLs(context, options),
      },
      {
        usage: 'inspect <volumes...>',
        description: 'Show all about volumes',
        flags: INSPECT,
        run: async (context, options, names) =>
          (await loadVolumes()).runInspectOf(context, 'volume', options, names),
      },
      {
        usage: 'rm <volumes...>',
        description: 'Remove volumes',
        flags: [['-f, --force', 'no error for one that is not there']],
        run: async (context, options, names) => (await loadVolumes()).runVolumeRm(context, options, names),
      },
      {
        usage: 'prune',
        description: 'Remove volumes that no container has',
        flags: [
          ['-a, --all', 'those with a name too'],
          ['--filter <name=value>', 'what fits', REPEAT],
          FORCE,
        ],
        run: async (context, options) => (await loadVolumes()).runVolumePrune(context, options),
      },
    ],
  },
  {
    usage: 'network',
    description: 'The networks bridge, host and none',
    commands: [
      {
        usage: 'ls',
        description: 'List networks',
        flags: [FILTER, FORMAT, QUIET],
        run: async (context, options) => (await loadSystem()).runNetworkLs(context, options),
      },
      {
        usage: 'inspect <networks...>',
        description: 'Show all about networks',
        flags: INSPECT,
        run: async (context, options, names) =>
          (await loadVolumes()).runInspectOf(context, 'network', options, names),
      },
      ...ABSENT_OF_NETWORK.map((name) => refuse(`network ${name}`)),
    ],
  },
  {
    usage: 'container',
    description: 'The commands of containers',
    commands: [
      ...groupOf([...RUNNING, ...FILES, ...ARCHIVES], ABSENT_OF_CONTAINER, { ps: 'ls' }),
      {
        usage: 'inspect <containers...>',
        description: 'Show all about containers',
        flags: [...INSPECT, SIZE],
        run: async (context, options, names) =>
          (await loadVolumes()).runInspectOf(context, 'container', options, names),
      },
      {
        usage: 'prune',
        description: 'Remove containers that do not run',
        flags: [['--filter <name=value>', 'what fits', REPEAT], FORCE],
        run: async (context, options) => (await loadSystem()).runContainerPrune(context, options),
      },
    ],
  },
  {
    usage: 'image',
    description: 'The commands of images',
    commands: [
      ...groupOf([...IMAGES, ...ARCHIVES], ['export'], { images: 'ls', rmi: 'rm' }),
      {
        usage: 'inspect <images...>',
        description: 'Show all about images',
        flags: INSPECT,
        run: async (context, options, names) =>
          (await loadVolumes()).runInspectOf(context, 'image', options, names),
      },
      {
        usage: 'prune',
        description: 'Remove images without a name',
        flags: [['-a, --all', 'those with a name that no container has too'], FORCE],
        run: async (context, options) => (await loadSystem()).runImagePrune(context, options),
      },
    ],
  },
  {
    usage: 'system',
    description: 'All of it together',
    commands: [
      {
        usage: 'df',
        description: 'Show what is used of the disk',
        run: async (context) => (await loadSystem()).runSystemDf(context),
      },
      {
        usage: 'prune',
        description: 'Remove what is not used',
        flags: [
          ['-a, --all', 'images with a name too'],
          ['--filter <name=value>', 'containers that fit', REPEAT],
          FORCE,
          ['--volumes', 'volumes that were made for containers too'],
        ],
        run: async (context, options) => (await loadSystem()).runSystemPrune(context, options),
      },
    ],
  },
  {
    usage: 'info',
    description: 'Show what the service has',
    flags: INSPECT,
    run: async (context, options) => (await loadSystem()).runInfo(context, options),
  },
  {
    usage: 'version',
    description: 'Show the versions of command and service',
    flags: INSPECT,
    run: async (context, options) => (await loadSystem()).runVersion(context, options),
  },
];

/** Docker's everyday commands, for containers outside of a cluster. */
export const CTR_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'ctr',
    description: "Containers outside of a cluster, with docker's commands",
    configure: (command) => command.enablePositionalOptions(),
    commands: [...RUNNING, ...FILES, ...ARCHIVES, ...IMAGES, ...GROUPS, ...REFUSED],
  },
];
