import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { execa, type Options, type ResultPromise } from 'execa';
import { buildHostInit } from './host-init.ts';

const CGROUP_ROOT = '/sys/fs/cgroup';

/** tap loads itself into every Node.js process below it through the environment; hosts must not see that. */
const FORGET_TAP = "unset NODE_OPTIONS $(env | sed -n 's/^\\(_TAPJS[A-Z0-9_]*\\)=.*/\\1/p')";

/** The clone that is tested; on the hosts it lies at the same path. */
export const REPOSITORY = resolve(import.meta.dirname, '../..');

export interface CommandOutput {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LabExecOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/**
 * One pretended machine: its own network, mount, pid, UTS, IPC and cgroup namespaces over an overlay of
 * the root file system, with a real sshd.
 */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  /** Pid of the host's init process as seen from outside. */
  readonly pid: number;
  /** Runs a command on the host as root; does not throw on a non-zero exit code. */
  exec(argv: readonly string[], options?: LabExecOptions): Promise<CommandOutput>;
  /** Starts a command on the host and leaves it running. */
  spawn(
    argv: readonly string[],
    options?: { readonly env?: Readonly<Record<string, string>> },
  ): ResultPromise;
  /** Kills everything on the host and starts it again over the same disk, as a power cut would. */
  reboot(): Promise<void>;
}

export interface Lab {
  readonly hosts: readonly LabHost[];
  /** The hosts' gateway, on the bridge: programs started with `spawn` listen there. */
  readonly gateway: string;
  /** A folder that is gone when the lab is closed. */
  readonly directory: string;
  /** Starts a program of the machine itself in the bridge's network; it ends with the lab. */
  spawn(argv: readonly string[], options?: { readonly cwd?: string }): ResultPromise;
  /** Ends every process and removes namespaces, cgroups and disks. */
  close(): Promise<void>;
}

export interface LabOptions {
  readonly hostNames: readonly string[];
  /** Hosts on which no Node.js is to be found. */
  readonly withoutNode?: readonly string[];
  /** Where the disks lie; must not be an overlay. */
  readonly baseDir?: string;
}

/** Makes hosts that are linked by one bridge, 10.77.X.0/24, in a network namespace of their own. */
export async function createLab(options: LabOptions): Promise<Lab> {
  const id = randomBytes(3).toString('hex');
  const directory = join(options.baseDir ?? '/var/tmp', `tkadm-lab-${id}`);
  const subnet = `10.77.${1 + Math.floor(Math.random() * 250)}`;
  const lab = new LabState(id, directory, subnet, options);
  // tap ends a file that takes too long with SIGTERM, and handles it itself.
  for (const event of ['exit', 'SIGTERM', 'SIGINT'] as const) process.once(event, () => lab.abandon());
  try {
    await lab.start();
  } catch (error) {
    await lab.close();
    throw error;
  }
  return lab;
}

class LabState implements Lab {
  readonly hosts: HostState[] = [];
  readonly id: string;
  readonly directory: string;
  readonly subnet: string;
  readonly #options: LabOptions;
  #switch: ResultPromise | undefined;
  readonly #programs: ResultPromise[] = [];

  constructor(id: string, directory: string, subnet: string, options: LabOptions) {
    this.id = id;
    this.directory = directory;
    this.subnet = subnet;
    this.#options = options;
  }

  get switchPid(): number {
    return this.#switch?.pid ?? 0;
  }

  async start(): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    this.#switch = execa('unshare', ['--net', 'sleep', 'infinity'], { reject: false, stdio: 'ignore' });
    await until(() => existsSync(`/proc/${this.switchPid}/ns/net`) && isOwnNetwork(this.switchPid));
    await this.inSwitch('ip link add br0 type bridge && ip link set br0 up && ip link set lo up');
    await this.inSwitch(`ip addr add ${this.subnet}.1/24 dev br0`);
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(this.directory, 'id_ed25519')]);
    for (const [index, name] of this.#options.hostNames.entries()) {
      const host = new HostState(this, name, `${this.subnet}.${10 + index}`, {
        hasNode: !this.#options.withoutNode?.includes(name),
      });
      this.hosts.push(host);
      await host.boot();
    }
  }

  async inSwitch(script: string): Promise<void> {
    await execa('nsenter', [`--net=/proc/${this.switchPid}/ns/net`, 'sh', '-ec', script]);
  }

  get gateway(): string {
    return `${this.subnet}.1`;
  }

  spawn(argv: readonly string[], options: { readonly cwd?: string } = {}): ResultPromise {
    const program = execa('nsenter', [`--net=/proc/${this.switchPid}/ns/net`, ...argv], {
      ...options,
      reject: false,
      stdin: 'ignore',
    });
    this.#programs.push(program);
    return program;
  }

  /** Ends what runs when the test's process is ended before it has closed the lab; cannot wait. */
  abandon(): void {
    for (const host of this.hosts) host.kill();
    for (const program of [...this.#programs, this.#switch]) program?.kill('SIGKILL');
  }

  async close(): Promise<void> {
    for (const program of this.#programs) program.kill('SIGKILL');
    await Promise.all(this.#programs);
    for (const host of this.hosts) await host.halt();
    this.#switch?.kill('SIGKILL');
    await this.#switch;
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

class HostState implements LabHost {
  readonly name: string;
  readonly address: string;
  readonly #lab: LabState;
  readonly #hasNode: boolean;
  #process: ResultPromise | undefined;
  #pid = 0;

  constructor(lab: LabState, name: string, address: string, options: { readonly hasNode: boolean }) {
    this.#lab = lab;
    this.name = name;
    this.address = address;
    this.#hasNode = options.hasNode;
  }

  get pid(): number {
    return this.#pid;
  }

  get #directory(): string {
    return join(this.#lab.directory, this.name);
  }

  get #cgroup(): string {
    return `tkadm-lab-${this.#lab.id}-${this.name}`;
  }

  async boot(): Promise<void> {
    for (const path of ['upper', 'work', 'root', 'state', 'log'])
      await mkdir(join(this.#directory, path), { recursive: true });
    const controllers = await makeCgroups(this.#cgroup);
    const script = buildHostInit({
      name: this.name,
      directory: this.#directory,
      controllers,
      cgroup: this.#cgroup,
      hasNode: this.#hasNode,
      publicKey: await readFile(join(this.#lab.directory, 'id_ed25519.pub'), 'utf8'),
      privateKeyPath: join(this.#lab.directory, 'id_ed25519'),
      sharedDirectories: [REPOSITORY],
    });
    await writeFile(join(this.#directory, 'init.sh'), script.inside, { mode: 0o755 });
    await rm(join(this.#directory, 'ready'), { force: true });
    this.#process = execa('sh', ['-ec', `${FORGET_TAP}\n${script.outside}`], {
      reject: false,
      stdin: 'ignore',
      stdout: { file: join(this.#directory, 'log/console') },
      stderr: { file: join(this.#directory, 'log/console') },
      detached: true,
    });
    await until(() => existsSync(join(this.#directory, 'pid')));
    await until(async () => {
      this.#pid = await findInit(this.#process?.pid ?? 0);
      return this.#pid > 0 && isOwnNetwork(this.#pid);
    });
    await this.#plug();
    await writeFile(join(this.#directory, 'plugged'), '');
    await until(
      () => existsSync(join(this.#directory, 'ready')),
      15_000,
      async () => readFile(join(this.#directory, 'log/console'), 'utf8'),
    );
  }

  /** A veth pair between the host and the bridge. */
  async #plug(): Promise<void> {
    const number = Number(this.address.split('.').pop());
    const port = `p${number}`;
    // A machine has the same network card after a reboot.
    const mac = `02:00:0a:4d:00:${number.toString(16).padStart(2, '0')}`;
    await this.#lab.inSwitch(
      `ip link del ${port} 2>/dev/null || true; ip link add ${port} type veth peer name eth0 netns ${this.#pid}; ip link set ${port} master br0 up`,
    );
    const inside = [
      'ip link set lo up',
      `ip link set eth0 address ${mac}`,
      'ip link set eth0 up',
      `ip addr add ${this.address}/24 dev eth0`,
      `ip route add default via ${this.#lab.subnet}.1`,
    ];
    await execa('nsenter', [`--net=/proc/${this.#pid}/ns/net`, 'sh', '-ec', inside.join('; ')]);
  }

  kill(): void {
    if (this.#pid === 0) return;
    try {
      process.kill(this.#pid, 'SIGKILL');
    } catch {}
  }

  async halt(): Promise<void> {
    this.kill();
    await this.#process;
    for (const name of ['pid', 'plugged', 'ready']) await rm(join(this.#directory, name), { force: true });
    await removeCgroups(this.#cgroup);
    this.#pid = 0;
  }

  async reboot(): Promise<void> {
    await this.halt();
    await this.boot();
  }

  async exec(argv: readonly string[], options: LabExecOptions = {}): Promise<CommandOutput> {
    const child = this.#enter(argv, {
      stripFinalNewline: false,
      env: options.env,
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    });
    const { timeoutMs } = options;
    let isLate = false;
    const timer = setTimeout(
      () => {
        isLate = true;
        void signalEntered(child, 'SIGKILL');
      },
      timeoutMs ?? 2 ** 31 - 1,
    );
    const result = await child.finally(() => clearTimeout(timer));
    return {
      exitCode: isLate ? 124 : (result.exitCode ?? 125),
      stdout: String(result.stdout ?? ''),
      stderr: `${result.stderr ?? ''}${isLate ? `\nkilled after ${timeoutMs} ms\n` : ''}`,
    };
  }

  spawn(
    argv: readonly string[],
    options: { readonly env?: Readonly<Record<string, string>> } = {},
  ): ResultPromise {
    return this.#enter(argv, { env: options.env });
  }

  #enter(
    argv: readonly string[],
    options: { readonly env: Readonly<Record<string, string>> | undefined } & Omit<Options, 'env'>,
  ): ResultPromise {
    return execa('sh', ['-c', this.#enterScript(), 'sh', ...argv], {
      ...options,
      reject: false,
      extendEnv: false,
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: '/root',
        ...options.env,
      },
    });
  }

  /** Into the host's cgroups first, then into its namespaces. */
  #enterScript(): string {
    return `${FORGET_TAP}; for d in ${CGROUP_ROOT}/*/${this.#cgroup}; do echo $$ > $d/cgroup.procs 2>/dev/null; done; cd /; exec nsenter -t ${this.#pid} -m -u -i -n -p -C -- "$@"`;
  }
}

/** Signals what `nsenter`, which forked on its way into the pid namespace, waits for. */
export async function signalEntered(entered: ResultPromise, signal: NodeJS.Signals): Promise<void> {
  for (const pid of await childrenOf(entered.pid ?? 0)) {
    try {
      process.kill(pid, signal);
    } catch {}
  }
}

/** A cgroup for the host in every v1 hierarchy; returns the controllers. */
async function makeCgroups(name: string): Promise<readonly string[]> {
  const controllers = (await readdir(CGROUP_ROOT)).filter((entry) =>
    existsSync(join(CGROUP_ROOT, entry, 'cgroup.procs')),
  );
  for (const controller of controllers) {
    const path = join(CGROUP_ROOT, controller, name);
    await mkdir(path, { recursive: true });
    if (controller !== 'cpuset') continue;
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      await writeFile(join(path, file), await readFile(join(CGROUP_ROOT, controller, file)));
    }
  }
  return controllers;
}

async function removeCgroups(name: string): Promise<void> {
  for (const controller of await readdir(CGROUP_ROOT)) {
    const root = join(CGROUP_ROOT, controller, name);
    if (!existsSync(root)) continue;
    const { stdout } = await execa('find', [root, '-depth', '-type', 'd'], { reject: false });
    for (const path of stdout.split('\n').filter(Boolean)) {
      await until(
        async () => (await execa('rmdir', [path], { reject: false })).exitCode === 0 || !existsSync(path),
        3_000,
      ).catch(() => {});
    }
  }
}

/** The host's init is the only child of `unshare`, which is what the started shell became. */
async function findInit(pid: number): Promise<number> {
  return (await childrenOf(pid))[0] ?? 0;
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.trim().split(/\s+/).filter(Boolean).map(Number);
}

async function isOwnNetwork(pid: number): Promise<boolean> {
  const { stdout } = await execa(
    'sh',
    ['-c', `[ "$(readlink /proc/${pid}/ns/net)" != "$(readlink /proc/self/ns/net)" ] && echo yes`],
    {
      reject: false,
    },
  );
  return stdout === 'yes';
}

async function until(
  probe: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
  describe?: () => Promise<string>,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await probe())) {
    if (Date.now() > deadline)
      throw new Error(`not reached within ${timeoutMs} ms: ${describe ? await describe() : probe}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
