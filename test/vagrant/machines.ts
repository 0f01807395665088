import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa, execaSync } from 'execa';
import { type Accelerator, quote, type ReachableMachine } from '../vm/machine.ts';
import type { Box } from './box.ts';

/** The machines of the Vagrantfile; the first is the control plane. */
export const NAMES = ['one', 'two', 'three'] as const;
const BOX_NAME = 'tkadm-test';
const VAGRANT_TIMEOUT_MS = 1_200_000;

export interface VagrantMachines {
  readonly machines: readonly ReachableMachine[];
  readonly directory: string;
  /** What Vagrant and its provider call themselves. */
  readonly versions: string;
  /** Shuts every machine down and starts it again. */
  reload(): Promise<void>;
  /** Takes machines, box and state away. */
  close(): Promise<void>;
}

export interface VagrantOptions {
  readonly box: Box;
  readonly accelerator: Accelerator;
  readonly log: (text: string) => void;
}

/** Brings the machines of the Vagrantfile up; Vagrant's home is a folder of its own. */
export async function bringUp({ box, accelerator, log }: VagrantOptions): Promise<VagrantMachines> {
  const directory = await mkdtemp('/var/tmp/tkadm-vagrant-');
  const env = {
    VAGRANT_HOME: join(directory, 'home'),
    VAGRANT_CWD: import.meta.dirname ?? '.',
    VAGRANT_DOTFILE_PATH: join(directory, 'state'),
    VAGRANT_DEFAULT_PROVIDER: 'libvirt',
    VAGRANT_CHECKPOINT_DISABLE: '1',
    TKADM_VAGRANT_BOX: BOX_NAME,
    TKADM_VAGRANT_KEY: box.privateKey,
    TKADM_VAGRANT_DRIVER: accelerator === 'kvm' ? 'kvm' : 'qemu',
  };
  const vagrant = async (...args: readonly string[]) =>
    (await execa('vagrant', args, { env, stdin: 'ignore', timeout: VAGRANT_TIMEOUT_MS })).stdout;
  // A test that bails out ends the process; machines of the computer's own libvirtd would stay.
  const abandon = () => {
    execaSync('vagrant', ['destroy', '-f'], { env, stdin: 'ignore', reject: false });
    rmSync(directory, { recursive: true, force: true });
  };
  process.once('exit', abandon);
  const close = async () => {
    process.off('exit', abandon);
    await vagrant('destroy', '-f').catch((error) => log(String(error)));
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await vagrant('box', 'add', '--name', BOX_NAME, box.path);
    await vagrant('up', '--no-tty');
    log('the machines run');
    const config = join(directory, 'ssh_config');
    const text = await vagrant('ssh-config');
    await writeFile(config, text);
    const machines = NAMES.map((name) => openMachine(name, config, text));
    const versions = `${await vagrant('--version')}, ${(await vagrant('plugin', 'list')).trim()}`;
    const reload = async () => {
      await vagrant('reload', '--no-tty');
    };
    return { machines, directory, versions, reload, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function openMachine(name: string, config: string, configText: string): ReachableMachine {
  const address = new RegExp(`^Host ${name}\\n\\s*HostName (\\S+)`, 'm').exec(configText)?.[1] ?? '';
  const exec: ReachableMachine['exec'] = async (argv, options = {}) => {
    const env = Object.entries(options.env ?? {}).map(([key, value]) => `${key}=${value}`);
    const words = ['sudo', ...(env.length > 0 ? ['env', ...env] : []), ...argv];
    const result = await execa('ssh', ['-F', config, name, words.map(quote).join(' ')], {
      reject: false,
      stripFinalNewline: false,
      timeout: options.timeoutMs ?? 600_000,
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    });
    const { stdout, stderr } = result;
    return { exitCode: result.timedOut ? 124 : (result.exitCode ?? 125), stdout, stderr };
  };
  return {
    name,
    address,
    exec,
    async shell(script, options) {
      const { exitCode, stdout, stderr } = await exec(['sh', '-ec', script], options);
      if (exitCode === 0) return stdout;
      throw new Error(`${name}: ${script}: exit code ${exitCode}: ${stdout}${stderr}`);
    },
  };
}
