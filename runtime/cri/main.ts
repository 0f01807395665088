import { arch } from 'node:os';
import { TkadmError } from '../base/errors.ts';
import { type FlagRow, parseFlags } from '../base/flags.ts';
import { loadKernelModules } from '../base/kernel-modules.ts';
import { createLogger, type LogLevel } from '../base/log.ts';
import { PATHS } from '../base/paths.ts';
import { VERSION } from '../base/version.ts';
import { STORAGE_DRIVERS } from '../image/container-files.ts';
import { BRIDGE_PLUGIN } from './bridge-plugin.ts';
import { createRuntime } from './create-runtime.ts';

/** The flags of `tkadm-runtime`. */
const RUNTIME_FLAGS = [
  { name: 'socket', kind: 'string', default: PATHS.runtimeSocket, help: 'Unix socket for CRI' },
  { name: 'image-socket', kind: 'string', default: PATHS.imageSocket, help: 'Unix socket for tkadm image' },
  { name: 'ctr-socket', kind: 'string', default: PATHS.ctrSocket, help: 'Unix socket for tkadm ctr' },
  { name: 'root', kind: 'string', default: PATHS.state, help: 'Images, sandboxes and containers' },
  { name: 'state-dir', kind: 'string', default: `${PATHS.run}/engine`, help: 'State of running containers' },
  { name: 'cni-conf-dir', kind: 'string', default: PATHS.cniConfig, help: 'CNI configurations' },
  { name: 'cni-bin-dir', kind: 'list', default: [PATHS.cniBin], help: 'CNI plugins, several directories' },
  { name: 'streaming-address', kind: 'string', default: '127.0.0.1:0', help: 'Address for exec and attach' },
  { name: 'bundle', kind: 'string', default: `${PATHS.bundle}/current`, help: 'The node bundle' },
  {
    name: 'storage-driver',
    kind: 'string',
    default: '',
    help: 'overlay or copy; what the kernel offers when not given',
  },
  { name: 'log-level', kind: 'string', default: 'info', help: 'debug, info, warn or error' },
] as const satisfies readonly FlagRow[];

/** Interface and nftables table of the bridge of `tkadm ctr`. */
const CTR_BRIDGE = 'tkadm-ctr0';
const CTR_CGROUP = '/tkadm/ctr';
/** Beside the containers of image builds, "/tkadm/ID". */
const MONITOR_CGROUP = '/tkadm/monitors';
const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

async function main(): Promise<void> {
  const flags = parseFlags(RUNTIME_FLAGS, process.argv.slice(2));
  const level = LOG_LEVELS.find((name) => name === flags['log-level']);
  if (level === undefined) {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot use flag "--log-level=${flags['log-level']}": no such level`,
    );
  }
  const storageDriver = STORAGE_DRIVERS.find((name) => name === flags['storage-driver']);
  if (storageDriver === undefined && flags['storage-driver'] !== '') {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot use flag "--storage-driver=${flags['storage-driver']}": no such driver`,
    );
  }
  const architecture = arch();
  if (architecture !== 'x64' && architecture !== 'arm64') {
    throw new TkadmError('UNSUPPORTED', `Cannot run on this machine: architecture "${architecture}"`);
  }
  const now = () => new Date();
  const log = createLogger({ name: 'runtime', level, write: (line) => process.stderr.write(line), now });
  await loadKernelModules(log);
  const runtime = await createRuntime({
    socketPath: flags.socket,
    imageSocketPath: flags['image-socket'],
    ctr: {
      socketPath: flags['ctr-socket'],
      root: `${flags.root}/ctr`,
      runDir: PATHS.run,
      bridgeName: CTR_BRIDGE,
      cgroupParent: CTR_CGROUP,
    },
    root: flags.root,
    stateDir: flags['state-dir'],
    monitorCgroup: MONITOR_CGROUP,
    cniConfDir: flags['cni-conf-dir'],
    cniBinDirs: flags['cni-bin-dir'],
    cniPlugins: [BRIDGE_PLUGIN],
    streamingAddress: flags['streaming-address'],
    bundlePath: flags.bundle,
    architecture,
    storageDriver,
    now,
    log,
  });
  log.info('serving CRI', { socket: flags.socket, version: VERSION });
  const stop = (signal: string) => {
    log.info('stopping', { signal });
    runtime.close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop(signal));
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
