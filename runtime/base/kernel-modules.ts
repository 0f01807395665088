import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import type { Logger } from './log.ts';

/**
 * What containers and their networks need of the kernel, with the modules that bring it where the kernel has it as such;
 * names as modprobe(8) takes them.
 */
export const KERNEL_MODULES: Readonly<Record<string, readonly string[]>> = {
  overlay: ['overlay'],
  veth: ['veth'],
  bridge: ['bridge'],
  nf_tables: ['nf_tables'],
  nft_nat: ['nft_chain_nat', 'nft_nat', 'nft_masq'],
  nft_ct: ['nft_ct'],
  nft_fib: ['nft_fib_ipv4'],
  nft_numgen: ['nft_numgen'],
  nft_reject: ['nft_reject_ipv4'],
  conntrack: ['nf_conntrack_netlink'],
};

/** All of them but that which a look at the rules loads. */
export const UNLOADABLE_MODULES: readonly string[] = Object.values(KERNEL_MODULES)
  .flat()
  .filter((name) => name !== 'nf_tables');

/** Loaded modules with how many use each; proc_modules(5). */
export function parseModules(text: string): ReadonlyMap<string, number> {
  const rows = text.split('\n').filter(Boolean);
  return new Map(rows.map((row) => row.split(' ')).map(([name = '', , users]) => [name, Number(users)]));
}

/** Those that a kernel has not loaded; built-in ones are among them. @param loaded the text of /proc/modules */
export function findMissingModules(loaded: string): readonly string[] {
  const names = parseModules(loaded);
  return Object.values(KERNEL_MODULES)
    .flat()
    .filter((name) => !names.has(name));
}

/**
 * Loads what a kernel with modules may not load by itself: one on modprobe.d(5)'s deny list is loaded only by who asks
 * for it by name, after each boot. What cannot be loaded is told by who needs it.
 */
export async function loadKernelModules(log: Logger): Promise<void> {
  const loaded = await readFile('/proc/modules', 'utf8').catch(() => undefined);
  const missing = loaded === undefined ? [] : findMissingModules(loaded);
  if (missing.length === 0) return;
  await new Promise<void>((resolve) => {
    const child = spawn('modprobe', ['-a', '-q', ...missing], { stdio: 'ignore' });
    child.on('error', (error) => {
      log.warn('kernel modules were not loaded', { modules: missing.join(' '), error: error.message });
      resolve();
    });
    child.on('close', () => resolve());
  });
}
