import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { execa, type ResultPromise } from 'execa';
import type { CommandOutput, LabExecOptions } from '../hosts/lab.ts';
import { prepareSystemDisk, type SystemDisk } from './disk.ts';
import { createNetwork } from './network.ts';
import { preparePayload } from './payload.ts';
import { PAYLOAD_DIRECTORY } from './recipe.ts';

/** Who computes: the processor itself, or QEMU's emulator, which is about ten times slower. */
export type Accelerator = 'kvm' | 'tcg';

const QEMU = 'qemu-system-x86_64';
/** A kernel that KVM carries answers in about a second; some nested ones never do. */
const KVM_PROBE_MS = 10_000;
const BOOT_TIMEOUT_MS = 480_000;
const SUBNET = '10.78.0';
/** What the emulator does with the instructions of newer ones takes longer than to do without. */
const EMULATED_PROCESSOR = 'Westmere';
const KERNEL_ARGUMENTS =
  'console=ttyS0 quiet net.ifnames=0 nokaslr mitigations=off audit=0 no_timer_check random.trust_cpu=on systemd.show_status=0';

/** A virtual machine, whoever started it. */
export interface ReachableMachine {
  readonly name: string;
  /** On the machines' private network. */
  readonly address: string;
  /** Runs a command as root over SSH; does not throw on a non-zero exit code. */
  exec(argv: readonly string[], options?: LabExecOptions): Promise<CommandOutput>;
  /** Standard output of a shell script. @throws when it fails, with what it said */
  shell(script: string, options?: LabExecOptions): Promise<string>;
}

/** A virtual machine with its own kernel, systemd and cgroup v2. */
export interface Machine extends ReachableMachine {
  /** Waits until sshd answers after a boot that is not the one of `bootId`. */
  waitForBoot(bootId?: string): Promise<void>;
  /** Identity of the running boot. */
  bootId(): Promise<string>;
  /** A power cut followed by a boot: nothing is told to the machine. */
  resetPower(): Promise<void>;
  /** Text of the serial console. */
  console(): Promise<string>;
}

export interface Machines {
  readonly machines: readonly Machine[];
  readonly accelerator: Accelerator;
  /** Gone when the machines are closed. */
  readonly directory: string;
  /** Words before a command that is to reach the machines. */
  readonly enter: readonly string[];
  /** Opens root's account of every machine over SSH. */
  readonly privateKey: string;
  /** Ends every process and removes the machines' disks. */
  close(): Promise<void>;
}

export interface MachineSize {
  readonly name: string;
  readonly memoryMiB: number;
  readonly processors: number;
  /** Of the kernel's security modules that exclude each other. */
  readonly security: 'apparmor' | 'selinux';
}

export interface MachinesOptions {
  readonly machines: readonly MachineSize[];
  readonly log: (text: string) => void;
}

/** Boots machines on a private network of their own and waits until each can be reached. */
export async function bootMachines(options: MachinesOptions): Promise<Machines> {
  const disk = await prepareSystemDisk(options.log);
  const directory = `/var/tmp/tkadm-machines-${randomBytes(3).toString('hex')}`;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const payload = join(directory, 'payload.img');
  const started: QemuMachine[] = [];
  const taps = options.machines.map(({ name }) => `tap-${name}`);
  const network = await createNetwork(`${SUBNET}.1/24`, taps);
  // tap ends a file that takes too long with SIGTERM, and handles it itself. The machines end with this process.
  const abandon = () => rmSync(directory, { recursive: true, force: true });
  for (const event of ['exit', 'SIGTERM', 'SIGINT'] as const) process.once(event, abandon);
  const close = async () => {
    await Promise.all(started.map((machine) => machine.halt()));
    await network.close();
    await rm(directory, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    const [accelerator] = await Promise.all([chooseAccelerator(disk), preparePayload(directory, payload)]);
    options.log(`machines run under ${accelerator}`);
    for (const [index, size] of options.machines.entries()) {
      const { enter } = network;
      const machine = new QemuMachine({ ...size, index, directory, disk, payload, accelerator, enter });
      started.push(machine);
      await machine.start();
    }
    await Promise.all(started.map((machine) => machine.waitForBoot()));
    const { privateKey } = disk;
    return { machines: started, accelerator, directory, enter: network.enter, privateKey, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** KVM where the kernel of the disk gets through its start under it, else the emulator. */
export async function chooseAccelerator({ kernel, initrd }: SystemDisk): Promise<Accelerator> {
  if (!existsSync('/dev/kvm')) return 'tcg';
  const { stdout } = await execa(
    QEMU,
    [
      ...['-accel', 'kvm', '-cpu', 'host', '-m', '256', '-display', 'none', '-nic', 'none', '-no-reboot'],
      ...['-serial', 'stdio', '-kernel', kernel, '-initrd', initrd],
      ...['-append', 'console=ttyS0 quiet tkadm.probe'],
    ],
    { reject: false, stdin: 'ignore', timeout: KVM_PROBE_MS, killSignal: 'SIGKILL' },
  );
  return stdout.includes('probe-answered') ? 'kvm' : 'tcg';
}

interface QemuOptions extends MachineSize {
  readonly index: number;
  readonly directory: string;
  readonly disk: SystemDisk;
  readonly payload: string;
  readonly accelerator: Accelerator;
  readonly enter: readonly string[];
}

class QemuMachine implements Machine {
  readonly name: string;
  readonly address: string;
  readonly #options: QemuOptions;
  #process: ResultPromise | undefined;

  constructor(options: QemuOptions) {
    this.#options = options;
    this.name = options.name;
    this.address = `${SUBNET}.${11 + options.index}`;
  }

  #path(suffix: string): string {
    return join(this.#options.directory, `${this.name}.${suffix}`);
  }

  async start(): Promise<void> {
    const { disk } = this.#options;
    await execa('qemu-img', [
      ...['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', disk.image],
      this.#path('qcow2'),
    ]);
    // The machine ends with the process of the tests, however that one ends.
    const argv = ['--pdeathsig', 'KILL', ...this.#options.enter, QEMU, ...this.#qemuArguments()];
    this.#process = execa('setpriv', argv, {
      reject: false,
      stdin: 'ignore',
      stdout: { file: this.#path('qemu.log') },
      stderr: { file: this.#path('qemu.log') },
    });
  }

  #qemuArguments(): readonly string[] {
    const { accelerator, index, disk, payload, memoryMiB, processors, security } = this.#options;
    const identity = `systemd.hostname=${this.name} tkadm.address=${this.address}`;
    return [
      ...['-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : EMULATED_PROCESSOR],
      ...['-smp', String(processors), '-m', String(memoryMiB), '-display', 'none', '-nodefaults'],
      ...['-serial', `file:${this.#path('console')}`, '-qmp', `unix:${this.#path('qmp')},server,nowait`],
      ...['-kernel', disk.kernel, '-initrd', disk.initrd],
      ...['-append', `${KERNEL_ARGUMENTS} security=${security} ${identity}`],
      ...['-drive', `file=${this.#path('qcow2')},if=virtio,format=qcow2,cache=unsafe`],
      ...['-drive', `file=${payload},if=virtio,format=raw,readonly=on`],
      ...['-netdev', `tap,id=wire,ifname=tap-${this.name},script=no,downscript=no`],
      ...['-device', `virtio-net-pci,netdev=wire,mac=52:54:00:78:00:${10 + index},romfile=`],
      ...['-device', 'virtio-rng-pci'],
    ];
  }

  async waitForBoot(bootId?: string): Promise<void> {
    const deadline = Date.now() + BOOT_TIMEOUT_MS;
    for (;;) {
      const current = await this.bootId().catch(() => '');
      if (current !== '' && current !== bootId) return this.#mountPayload();
      const hasEnded = this.#process?.exitCode !== null;
      if (hasEnded || Date.now() > deadline) {
        const logs = await readFile(this.#path('qemu.log'), 'utf8').catch(String);
        throw new Error(`${this.name} did not boot: ${logs}\n${(await this.console()).slice(-2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  /** systemd does it, unless the machine is so slow that it loses its patience with the disk. */
  async #mountPayload(): Promise<void> {
    const [directory, disk] = [PAYLOAD_DIRECTORY, '/dev/vdb'];
    await this.shell(
      `mountpoint -q ${directory} || mount -o ro ${disk} ${directory} || mountpoint -q ${directory}`,
    );
  }

  async bootId(): Promise<string> {
    return (await this.shell('cat /proc/sys/kernel/random/boot_id', { timeoutMs: 120_000 })).trim();
  }

  async exec(argv: readonly string[], options: LabExecOptions = {}): Promise<CommandOutput> {
    const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
    const command = (env.length > 0 ? ['env', ...env, ...argv] : argv).map(quote).join(' ');
    const [program = '', ...args] = [...this.#options.enter, 'ssh', ...this.#sshArguments(), command];
    const result = await execa(program, args, {
      reject: false,
      stripFinalNewline: false,
      timeout: options.timeoutMs ?? 600_000,
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    });
    return {
      exitCode: result.timedOut ? 124 : (result.exitCode ?? 125),
      stdout: result.stdout,
      stderr: result.stderr,
    };
  }

  #sshArguments(): readonly string[] {
    const options = [
      'BatchMode=yes',
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'LogLevel=ERROR',
      // An answer that is given up costs the emulator another one.
      'ConnectTimeout=30',
      'KexAlgorithms=curve25519-sha256',
      'ServerAliveInterval=10',
      // One handshake for all commands of a boot.
      'ControlMaster=auto',
      'ControlPersist=60',
      `ControlPath=${this.#path('ssh')}`,
    ];
    return [
      ...['-F', 'none', '-i', this.#options.disk.privateKey],
      ...options.flatMap((option) => ['-o', option]),
      `root@${this.address}`,
    ];
  }

  async shell(script: string, options?: LabExecOptions): Promise<string> {
    const result = await this.exec(['sh', '-ec', script], options);
    if (result.exitCode === 0) return result.stdout;
    throw new Error(
      `${this.name}: ${script}: exit code ${result.exitCode}: ${result.stdout}${result.stderr}`,
    );
  }

  async resetPower(): Promise<void> {
    await this.closeConnection();
    const socket = connect(this.#path('qmp'));
    for (const command of ['qmp_capabilities', 'system_reset']) await callQmp(socket, command);
    socket.end();
  }

  async console(): Promise<string> {
    return readFile(this.#path('console'), 'utf8').catch(() => '');
  }

  /** The shared SSH connection would wait for a machine that has gone. */
  async closeConnection(): Promise<void> {
    const [program = '', ...args] = [...this.#options.enter, 'ssh', '-O', 'exit', ...this.#sshArguments()];
    await execa(program, args, { reject: false });
  }

  async halt(): Promise<void> {
    await this.closeConnection();
    this.#process?.kill('SIGKILL');
    await this.#process;
  }
}

/** Sends one command of QEMU's control protocol and waits for its answer, a line of JSON with "return". */
async function callQmp(socket: Socket, execute: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer) => {
      text += chunk;
      if (!text.includes('"return"')) return;
      socket.off('data', onData);
      resolve();
    };
    socket.on('data', onData).once('error', reject);
    socket.write(`${JSON.stringify({ execute })}\n`);
  });
}

/** A word as /bin/sh reads it back. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
