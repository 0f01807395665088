import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { EXIT_CODES, TkadmError } from '../runtime/base/errors.ts';
import { PATHS } from '../runtime/base/paths.ts';
import { KUBERNETES_VERSION, VERSION } from '../runtime/base/version.ts';
import type { CliContext } from './commands/context.ts';
import { EXAMPLES } from './commands/examples.ts';
import { requestedFormat } from './render/requested-format.ts';

/** Only this file touches `process`; every command gets what it needs through this context. */
function buildContext(): CliContext {
  const abort = new AbortController();
  const interrupt = () => {
    if (abort.signal.aborted) process.exit(130);
    abort.abort(new Error('interrupted'));
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return {
    env: process.env,
    cwd: process.cwd(),
    signal: abort.signal,
    isTerminal: process.stdout.isTTY === true,
    isInputTerminal: process.stdin.isTTY === true,
    stdin: process.stdin,
    entryPath: fileURLToPath(import.meta.url),
    nodePath: process.execPath,
    uid: process.getuid?.() ?? 0,
    now: () => new Date(),
    write: (text) => process.stdout.write(text),
    writeBytes: (bytes) => new Promise((done) => process.stdout.write(bytes, () => done())),
    writeError: (text) => process.stderr.write(text),
    fileExists: async (path) => (await import('node:fs')).existsSync(path),
  };
}

/** Documents, and the events of a run: JSON lines, or YAML documents. See docs/output.md. */
function output(formats: readonly string[] = ['text', 'json', 'yaml']): Option {
  return new Option('-o, --output <format>', 'output format').choices(formats).default('text');
}

function repeatable(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

function list(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), ...value.split(',').filter(Boolean)];
}

/** `isText`: usage errors are written as they are found, with help. */
function buildProgram(context: CliContext, isText: boolean): Command {
  const program = new Command('tkadm')
    .description('Turns Linux machines into a Kubernetes cluster')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('(add --help for the list of commands and flags)')
    .showSuggestionAfterError()
    .configureOutput({ writeOut: context.write, writeErr: isText ? context.writeError : () => {} })
    // Before the commands are added: each takes it over when it is made.
    .exitOverride()
    .hook('preAction', async (_, command) => {
      if (!(await context.fileExists(PATHS.kubernetes))) return;
      const { noticeExpiry } = await import('./commands/expiry-notice.ts');
      await noticeExpiry(context, { command: topLevelName(command), output: outputOf(command) });
    })
    .addHelpText('after', `\nExit codes: ${formatExitCodes()}\n`);
  addClusterCommands(program, context);
  addTokenCommands(program, context);
  addCertsCommands(program, context);
  addKubeconfigCommands(program, context);
  addConfigCommands(program, context);
  addUpgradeCommand(program);
  addImageCommands(program, context);
  addServiceCommands(program, context);
  program
    .command('version')
    .description('Print the version')
    .addOption(new Option('-o, --output <format>').choices(['text', 'short', 'json', 'yaml']).default('text'))
    .action(async (options: { output: string }) => {
      const { printVersion } = await import('./commands/version.ts');
      printVersion(context, options.output, { tkadm: VERSION, kubernetes: KUBERNETES_VERSION });
    });
  program
    .command('completion <shell>')
    .description('Print a completion script for bash or zsh')
    .action(async (shell: string) => {
      const { printCompletion } = await import('./commands/completion.ts');
      printCompletion(context, program, shell);
    });
  addExamples(program);
  return program;
}

function addExamples(program: Command): void {
  for (const [path, lines] of Object.entries(EXAMPLES)) {
    const command = path
      .split(' ')
      .reduce<Command | undefined>(
        (parent, word) => parent?.commands.find((child) => child.name() === word),
        program,
      );
    command?.addHelpText('after', `\nExamples:\n${lines.map((line) => `  ${line}\n`).join('')}`);
  }
}

/** The value of -o, wherever between the words of the command it was given. */
function outputOf(command: Command): string {
  const isGiven = command.getOptionValueSource('output') === 'cli';
  return isGiven || !command.parent ? String(command.opts()['output'] ?? 'text') : outputOf(command.parent);
}

/** "certs" of "tkadm certs renew". */
function topLevelName(command: Command): string {
  return command.parent?.parent ? topLevelName(command.parent) : command.name();
}
const CRI_SOCKET_FLAG = [
  '--cri-socket <socket>',
  'CRI socket of the container runtime (default: that of this package)',
] as const;
const ENGINE_FLAG = [
  '--engine <name>',
  'embedded: the programs of this package; upstream: the images of registry.k8s.io',
] as const;
const STORE_FLAG = ['--store <name>', 'embedded, or etcd with the upstream engine'] as const;
const FEATURE_GATES_FLAG = ['--feature-gates <gates>', 'name=true|false, ...'] as const;

/** Flags that init, join and their phases share. */
function addCommonFlags(command: Command, outputOption = output()): Command {
  return command
    .option('--config <file>', 'kubeadm.k8s.io/v1beta4 documents, "-" for standard input')
    .option('--node-name <name>', 'name of this node (default: the hostname)')
    .option('--ignore-preflight-errors <names>', 'checks whose errors are shown as warnings, or "all"', list)
    .option('--patches <dir>', 'directory of patches, files named target[suffix][+type].json|yaml')
    .option('--skip-phases <names>', 'phases to leave out', list)
    .option('--fix', 'repair what preflight finds, where that is possible')
    .option('--dry-run', 'show what would be done, change nothing')
    .addOption(outputOption);
}

function addInitFlags(command: Command, outputOption?: Option): Command {
  return addCommonFlags(command, outputOption)
    .option('--apiserver-advertise-address <ip>', 'address at which the API server is reached')
    .option('--apiserver-bind-port <port>', 'port of the API server (default: 6443)')
    .option('--apiserver-cert-extra-sans <names>', 'further names and addresses in its certificate', list)
    .option('--cert-dir <dir>', 'where certificates are kept (default: /etc/kubernetes/pki)')
    .option('--control-plane-endpoint <host[:port]>', 'stable address of the control plane')
    .option(...CRI_SOCKET_FLAG)
    .option(...ENGINE_FLAG)
    .option(...FEATURE_GATES_FLAG, list)
    .option('--image-repository <name>', 'registry of the control plane images')
    .option('--kubernetes-version <version>', 'Kubernetes version')
    .option('--pod-network-cidr <cidr>', 'addresses of pods (default: 10.244.0.0/16)')
    .option('--service-cidr <cidr>', 'addresses of Services (default: 10.96.0.0/12)')
    .option('--service-dns-domain <name>', 'DNS domain of Services (default: cluster.local)')
    .option(...STORE_FLAG)
    .option('--token <token>', 'bootstrap token (default: a new one)')
    .option('--token-ttl <duration>', 'life of the token, 0 for ever (default: 24h)')
    .option('--skip-token-print', 'do not print the token')
    .option('--upload-certs', 'keep the CAs and keys, encrypted, in the cluster for two hours')
    .option('--certificate-key <key>', 'key of --upload-certs, 32 bytes in hexadecimal (default: a new one)')
    .option('--skip-certificate-key-print', 'do not print that key');
}

function addJoinFlags(command: Command, outputOption?: Option): Command {
  return addCommonFlags(command, outputOption)
    .option('--token <token>', 'bootstrap token, for discovery and TLS bootstrap')
    .option('--discovery-token <token>', 'bootstrap token for discovery')
    .option('--tls-bootstrap-token <token>', 'bootstrap token for TLS bootstrap')
    .option('--discovery-token-ca-cert-hash <pin>', 'pin of the CA, "sha256:HEX"', repeatable)
    .option('--discovery-token-unsafe-skip-ca-verification', 'trust the CA that the token discovers')
    .option('--discovery-file <file>', 'kubeconfig from which the cluster is known');
}

function addClusterCommands(program: Command, context: CliContext): void {
  addInitFlags(program.command('init').description('Make this machine a one-node cluster')).action(
    async (options) => (await import('./commands/init.ts')).runInit(context, options),
  );
  addJoinFlags(
    program
      .command('join [addresses...]')
      .description(
        'Add a node: this machine (address of the API server), or machines over SSH (their addresses)',
      ),
  )
    .option('--ssh <target>', 'machine to join over SSH, user@host[:port]', repeatable)
    .option('--ssh-user <name>', 'user of SSH addresses without one (default: root)')
    .option('--ssh-identity <file>', 'private key file', repeatable)
    .addOption(
      new Option('--ssh-host-keys <policy>', 'host keys that known_hosts does not hold')
        .choices(['strict', 'accept-new'])
        .default('strict'),
    )
    .option('--api-server <host:port>', 'address under which the new node reaches the API server')
    .option(...CRI_SOCKET_FLAG)
    .option('--control-plane', 'become a control-plane node (not with the embedded store)')
    .option('--apiserver-advertise-address <ip>', 'with --control-plane: address of its API server')
    .option('--apiserver-bind-port <port>', 'with --control-plane: port of its API server')
    .option('--certificate-key <key>', 'with --control-plane: key of the uploaded certificates')
    .action(async (addresses: string[], options) =>
      (await import('./commands/join.ts')).runJoin(context, addresses, options),
    );
  program
    .command('reset')
    .description('Undo init or join on this machine')
    .option('--config <file>', 'kubeadm.k8s.io/v1beta4 ResetConfiguration, "-" for standard input')
    .option('-f, --force', 'do not ask')
    .option('--cert-dir <dir>', 'where certificates are kept (default: where the API server has them)')
    .option('--cleanup-tmp-dir', 'remove /etc/kubernetes/tmp too')
    .option('--cri-socket <path>', 'socket of the container runtime')
    .option('--ignore-preflight-errors <names>', 'checks whose errors are shown as warnings, or "all"', list)
    .option('--skip-phases <names>', 'phases to leave out', list)
    .option('--dry-run', 'show what would be done, change nothing')
    .option('--kubeconfig <file>', 'how to reach the cluster (default: /etc/kubernetes/admin.conf)')
    .addOption(output())
    .action(async (options) => (await import('./commands/reset.ts')).runReset(context, options));
  addPreflightCommands(program, context);
}

function addPreflightCommands(program: Command, context: CliContext): void {
  const preflight = program
    .command('preflight')
    .description('Run the checks of a command alone (default: init)');
  const run = async (
    command: 'init' | 'join' | 'upgrade' | 'reset',
    address?: string,
    options: object = {},
  ) => {
    const { runPreflightCommand } = await import('./commands/preflight.ts');
    process.exitCode = await runPreflightCommand(context, { command, address }, options as never);
  };
  addInitFlags(preflight.command('init', { isDefault: true }).description('The checks of init'), output())
    .option('--list', 'show the table of all checks')
    .action((options) => run('init', undefined, options));
  addJoinFlags(preflight.command('join [address]').description('The checks of join'), output()).action(
    (address: string | undefined, options) => run('join', address, options),
  );
  for (const command of ['upgrade', 'reset'] as const) {
    preflight
      .command(command)
      .description(`The checks of ${command}`)
      .option(
        '--ignore-preflight-errors <names>',
        'checks whose errors are shown as warnings, or "all"',
        list,
      )
      .option('--kubeconfig <file>', 'how to reach the cluster (default: /etc/kubernetes/admin.conf)')
      .option('--fix', 'repair what can be repaired')
      .option('--dry-run', 'show what would be repaired, change nothing')
      .addOption(output())
      .action((options) => run(command, undefined, options));
  }
}

function addTokenCommands(program: Command, context: CliContext): void {
  const token = program.command('token').description('Bootstrap tokens');
  const kubeconfig = [
    '--kubeconfig <file>',
    'how to reach the cluster (default: /etc/kubernetes/admin.conf)',
  ] as const;
  const load = () => import('./commands/token.ts');
  const dryRun = ['--dry-run', 'show what would be done, change nothing'] as const;
  token
    .command('create [token]')
    .description('Create a token')
    .option(...kubeconfig)
    .option(...dryRun)
    .option('--config <file>', 'take the tokens from the bootstrapTokens of an InitConfiguration')
    .option('--ttl <duration>', 'life of the token, 0 for ever (default: 24h)')
    .option('--description <text>', 'what it is for')
    .option('--groups <groups>', 'groups of its user, system:bootstrappers:...', list)
    .option('--usages <usages>', 'signing, authentication (default: both)', list)
    .option('--print-join-command', 'print the whole join command')
    .option('--certificate-key <key>', 'with --print-join-command: join as control plane')
    .addOption(output())
    .action(async (value: string | undefined, options) =>
      (await load()).runTokenCreate(context, value, options),
    );
  token
    .command('list')
    .description('List the tokens, in full')
    .option(...kubeconfig)
    .option(...dryRun)
    .addOption(output())
    .action(async (options) => (await load()).runTokenList(context, options));
  token
    .command('delete <tokens...>')
    .description('Delete tokens, by id or in full')
    .option(...kubeconfig)
    .option(...dryRun)
    .addOption(output())
    .action(async (tokens: string[], options) => (await load()).runTokenDelete(context, tokens, options));
  token
    .command('generate')
    .description('Print a random token without creating it')
    .addOption(output())
    .action(async (options) => (await load()).runTokenGenerate(context, options));
}

function addCertsCommands(program: Command, context: CliContext): void {
  const certs = program
    .command('certs')
    .alias('certificates')
    .description('Certificates of this control-plane node');
  const add = (name: string, description: string) =>
    certs
      .command(name)
      .description(description)
      .option('--config <file>', 'configuration documents (default: those of the cluster)')
      .option('--cert-dir <dir>', 'where certificates are kept (default: /etc/kubernetes/pki)')
      .option('--kubeconfig-dir <dir>', 'where kubeconfig files are kept (default: /etc/kubernetes)');
  const kubeconfig = ['--kubeconfig <file>', 'how to reach the cluster (default: admin.conf)'] as const;
  add('check-expiration', 'Show when certificates end')
    .option(...kubeconfig)
    .addOption(output())
    .action(async (options) =>
      (await import('./commands/certs-expiration.ts')).runCheckExpiration(context, options),
    );
  add('renew <name>', 'Issue a certificate again, or "all", and see it in use')
    .option(...kubeconfig)
    .option('--no-wait', 'do not look whether the new certificates are in use')
    .addOption(output())
    .action(async (name: string, options) =>
      (await import('./commands/certs-renew.ts')).runCertsRenew(context, name, options),
    );
  add('generate-csr', 'Make keys and certificate requests for an external CA')
    .addOption(output())
    .action(async (options) => (await import('./commands/certs-csr.ts')).runGenerateCsr(context, options));
  certs
    .command('certificate-key')
    .description('Print a random key for --certificate-key')
    .addOption(output())
    .action(async (options) => (await import('./commands/certs-csr.ts')).runCertificateKey(context, options));
}

function addKubeconfigCommands(program: Command, context: CliContext): void {
  program
    .command('kubeconfig')
    .description('Kubeconfig files')
    .command('user')
    .description('Print a kubeconfig for a further user')
    .requiredOption('--client-name <name>', 'name of the user')
    .option('--org <group>', 'group of the user, an organization of its certificate', repeatable)
    .option('--token <token>', 'a token instead of a client certificate')
    .option(
      '--validity-period <duration>',
      'life of the certificate (default: that of the configuration, 8760h)',
    )
    .option('--config <file>', 'configuration documents (default: those of the cluster)')
    .option('--cert-dir <dir>', 'where certificates are kept (default: /etc/kubernetes/pki)')
    .option('--kubeconfig-dir <dir>', 'where kubeconfig files are kept (default: /etc/kubernetes)')
    .addOption(output())
    .action(async (options) =>
      (await import('./commands/kubeconfig-user.ts')).runKubeconfigUser(context, options),
    );
}

/** kubeadm has it, tkadm has not: it is refused by name. Its document is read by `config`. */
function addUpgradeCommand(program: Command): void {
  program
    .command('upgrade [args...]', { hidden: true })
    .allowUnknownOption()
    .action(() => {
      throw new TkadmError('UNSUPPORTED', 'Cannot upgrade: there is no "tkadm upgrade" yet', {
        hint: 'tkadm config validate checks an UpgradeConfiguration',
      });
    });
}

function addConfigCommands(program: Command, context: CliContext): void {
  const config = program.command('config').description('Configuration documents');
  const load = () => import('./commands/config.ts');
  config
    .command('print <what>')
    .description('Print defaults: init-defaults, join-defaults, reset-defaults, upgrade-defaults')
    .option('--component-configs <kinds>', 'KubeletConfiguration, KubeProxyConfiguration', list)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['yaml', 'json']).default('yaml'))
    .action(async (what: string, options) => (await load()).runConfigPrint(context, what, options));
  const experimental = ['--allow-experimental-api', 'read versions under trial (there is none)'] as const;
  config
    .command('validate')
    .description('Check a configuration file')
    .requiredOption('--config <file>', 'the file, "-" for standard input')
    .option('--allow-deprecated-api', 'do not warn of versions that are going out of use')
    .option(...experimental)
    .addOption(output())
    .action(async (options) => (await load()).runConfigValidate(context, options));
  config
    .command('migrate')
    .description('Print a configuration file in the present version')
    .requiredOption('--old-config <file>', 'the file, "-" for standard input')
    .option('--new-config <file>', 'where to write the result (default: standard output)')
    .option('--force', 'replace the file of --new-config')
    .option(...experimental)
    .action(async (options) => (await load()).runConfigMigrate(context, options));
  addConfigImagesCommands(config.command('images').description('Images of a control-plane node'), context);
}

function addConfigImagesCommands(images: Command, context: CliContext): void {
  const load = () => import('./commands/config-images.ts');
  const addFlags = (command: Command) =>
    command
      .option('--config <file>', 'configuration documents, "-" for standard input')
      .option(...CRI_SOCKET_FLAG)
      .option(...ENGINE_FLAG)
      .option(...FEATURE_GATES_FLAG, list)
      .option('--image-repository <name>', 'registry of the control plane images')
      .option('--kubernetes-version <version>', 'Kubernetes version')
      .option(...STORE_FLAG)
      .addOption(output());
  addFlags(images.command('list').description('List the images')).action(async (options) =>
    (await load()).runImagesList(context, options),
  );
  addFlags(images.command('pull').description('Pull the images that the node bundle does not have')).action(
    async (options) => (await load()).runImagesPull(context, options),
  );
}

function addImageCommands(program: Command, context: CliContext): void {
  const image = program.command('image').description('Images of this node');
  const plainHttp = ['--plain-http', 'talk HTTP to the registry'] as const;
  const authfile = ['--authfile <file>', "credentials (default: docker's ~/.docker/config.json)"] as const;
  const load = () => import('./commands/image.ts');
  image
    .command('build <context>')
    .description('Build an image from a Dockerfile')
    .option('-f, --file <file>', 'the Dockerfile, "-" for standard input (default: CONTEXT/Dockerfile)')
    .requiredOption('-t, --tag <name>', 'name of the image', repeatable)
    .option('--build-arg <name=value>', 'value of an ARG', repeatable)
    .option(
      '--secret <id=name,src=file>',
      'content for RUN --mount=type=secret, also id=NAME,env=VARIABLE',
      repeatable,
    )
    .option('--target <stage>', 'last stage to build')
    .option('--platform <os/arch>', "the image's platform, which must be this machine's")
    .option('--no-cache', 'run every instruction')
    .option('--pull', 'ask the registries for base images that are there too')
    .addOption(output())
    .action(async (path: string, options) => (await load()).runImageBuild(context, path, options));
  image
    .command('load')
    .description('Load images from a docker-archive or OCI archive')
    .requiredOption('-i, --input <file>', 'the archive, "-" for standard input')
    .addOption(output())
    .action(async (options) => (await load()).runImageLoad(context, options));
  image
    .command('pull <name>')
    .description('Pull an image from its registry')
    .option('--platform <os/arch>', "linux/amd64 or linux/arm64 (default: this machine's)")
    .option(...plainHttp)
    .option(...authfile)
    .addOption(output())
    .action(async (name: string, options) => (await load()).runImagePull(context, name, options));
  image
    .command('push <name>')
    .description('Push an image to the registry of its name')
    .option(...plainHttp)
    .option(...authfile)
    .addOption(output())
    .action(async (name: string, options) => (await load()).runImagePush(context, name, options));
  image
    .command('tag <source> <target>')
    .description('Give an image one more name')
    .addOption(output())
    .action(async (source: string, target: string, options) =>
      (await load()).runImageTag(context, { source, target }, options),
    );
  image
    .command('save <names...>')
    .description('Write images to an archive, for "load" here or elsewhere')
    .requiredOption('-f, --file <file>', 'the archive, "-" for standard output')
    .addOption(output())
    .action(async (names: string[], options) => (await load()).runImageSave(context, names, options));
  image
    .command('inspect <names...>')
    .description('Show all about images')
    .addOption(output())
    .action(async (names: string[], options) => (await load()).runImageInspect(context, names, options));
  image
    .command('history <name>')
    .description('Show how the layers of an image were made')
    .addOption(output())
    .action(async (name: string, options) => (await load()).runImageHistory(context, name, options));
  image
    .command('ls')
    .description('List the images')
    .addOption(output())
    .action(async (options) => (await load()).runImageList(context, options));
  image
    .command('rm <names...>')
    .description('Remove images')
    .addOption(output())
    .action(async (names: string[], options) => (await load()).runImageRemove(context, names, options));
  image
    .command('prune')
    .description('Remove images without a name')
    .option('-a, --all', 'also those with names, when no container uses them')
    .option('--build-cache', 'also what builds have cached')
    .addOption(output())
    .action(async (options) => (await load()).runImagePrune(context, options));
}

function addServiceCommands(program: Command, context: CliContext): void {
  const service = program.command('service').description('The host services tkadm-runtime and tkadm-agent');
  const load = () => import('./commands/service.ts');
  service
    .command('start')
    .description('Start the services')
    .addOption(output())
    .action(async (options) => (await load()).runServiceStart(context, options));
  service
    .command('stop')
    .description('Stop the services; containers go on')
    .option('--all', 'stop the containers too')
    .addOption(output())
    .action(async (options) => (await load()).runServiceStop(context, options));
  service
    .command('status')
    .description('Show whether the services run')
    .addOption(output())
    .action(async (options) => (await load()).runServiceStatus(context, options));
}

/** The commands of phases are many: they are made for a command line that needs them. Returns its words. */
async function addPhases(program: Command, context: CliContext, argv: readonly string[]) {
  if (argv.includes('phase') || argv.includes('completion')) {
    const { addPhaseCommands, splitPhaseNames } = await import('./commands/phases.ts');
    addPhaseCommands(program, context, (name) => argv.includes(name) || argv.includes('completion'));
    return splitPhaseNames(argv);
  }
  for (const command of program.commands.filter((row) => ['init', 'join', 'reset'].includes(row.name()))) {
    command.command('phase').description('Run one phase; without a name: list them');
  }
  return argv;
}

function formatExitCodes(): string {
  return ['0 done', ...Object.entries(EXIT_CODES).map(([area, code]) => `${code} ${area}`)].join(', ');
}

/** The words of the command that is meant: ["token", "create"]. */
function commandWords(program: Command, argv: readonly string[]): readonly string[] {
  const words: string[] = [];
  let command: Command | undefined = program;
  for (const word of argv.filter((text) => !text.startsWith('-'))) {
    command = command?.commands.find((child) => child.name() === word || child.aliases().includes(word));
    if (!command) break;
    words.push(word);
  }
  return words;
}

async function report(error: unknown): Promise<number> {
  const { tellFailure } = await import('./render/failure.ts');
  return tellFailure(error, { ...context, argv, command: commandWords(program, argv).join(' ') });
}

const argv = process.argv.slice(2);
const context = buildContext();
const program = buildProgram(context, requestedFormat(argv) === 'text');
// A reader that goes away, as `head` does, ends neither a run nor its effect.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
// Nothing else may print a crash: its stack can hold a secret.
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    void report(error).then((code) => process.exit(code));
  });
}
try {
  await program.parseAsync(await addPhases(program, context, process.argv));
} catch (error) {
  // Help and version end the parser by an error with exit code 0.
  const isDone = error instanceof Error && 'exitCode' in error && error.exitCode === 0;
  if (!isDone) process.exitCode = await report(error);
}
// Kept-alive connections and the terminal's reader must not hold the process.
await new Promise((resolve) => process.stdout.write('', resolve));
process.exit(process.exitCode ?? 0);
