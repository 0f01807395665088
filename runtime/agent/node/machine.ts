import { readdir, readFile, statfs } from 'node:fs/promises';
import { arch, cpus, networkInterfaces, release, totalmem } from 'node:os';
import { readFileIfExists } from '../../base/files.ts';

/** Facts of this machine that the Node object reports. */
export interface MachineFacts {
  readonly cpuCount: number;
  readonly memoryBytes: number;
  readonly ephemeralStorageBytes: number;
  /** "hugepages-2Mi" → bytes */
  readonly hugepages: Readonly<Record<string, number>>;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  /** GOARCH: "amd64", "arm64" */
  readonly architecture: string;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

/** Reads the facts; `rootDir` is the directory whose file system counts as ephemeral storage. */
export async function readMachineFacts(rootDir: string): Promise<MachineFacts> {
  const storage = await statfs(rootDir).catch(() => statfs('/'));
  return {
    cpuCount: cpus().length,
    memoryBytes: totalmem(),
    ephemeralStorageBytes: storage.blocks * storage.bsize,
    hugepages: await readHugepages(),
    machineId: (await firstText(['/etc/machine-id', '/var/lib/dbus/machine-id'])) ?? '',
    systemUuid: (await firstText(['/sys/class/dmi/id/product_uuid', '/etc/machine-id'])) ?? '',
    bootId: (await firstText(['/proc/sys/kernel/random/boot_id'])) ?? '',
    kernelVersion: release(),
    osImage: readOsImage((await readFileIfExists('/etc/os-release')) ?? ''),
    architecture: ARCHITECTURES[arch()] ?? arch(),
  };
}

function readOsImage(text: string): string {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? 'Linux';
}

async function firstText(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (text.trim() !== '') return text.trim();
  }
  return undefined;
}

async function readHugepages(): Promise<Record<string, number>> {
  const root = '/sys/kernel/mm/hugepages';
  const result: Record<string, number> = {};
  for (const name of await readdir(root).catch(() => [])) {
    const kib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    if (kib === 0) continue;
    const count = Number((await firstText([`${root}/${name}/nr_hugepages`])) ?? 0);
    const size = kib >= 1048576 ? `${kib / 1048576}Gi` : kib >= 1024 ? `${kib / 1024}Mi` : `${kib}Ki`;
    result[`hugepages-${size}`] = count * kib * 1024;
  }
  return result;
}

/**
 * The address of the interface with the default route (/proc/net/route, lowest metric), else the first
 * address that is not loopback, else "127.0.0.1".
 */
export async function readDefaultAddress(): Promise<string> {
  const routes = ((await readFileIfExists('/proc/net/route')) ?? '')
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'))
    .filter((columns) => columns[1] === '00000000' && columns[7] === '00000000')
    .sort((a, b) => Number(a[6]) - Number(b[6]));
  const interfaces = networkInterfaces();
  const names = [...routes.map((columns) => columns[0] ?? ''), ...Object.keys(interfaces)];
  for (const name of names) {
    const found = interfaces[name]?.find((address) => address.family === 'IPv4' && !address.internal);
    if (found) return found.address;
  }
  return '127.0.0.1';
}
