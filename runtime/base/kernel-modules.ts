import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import type { Logger } from './log.ts';

/**
 * What containers and their networks need of the kernel, with the module that brings it where the kernel has it as one;
 * names as modprobe(8) takes them.
 */
export const KERNEL_MODULES: Readonly<Record<string, string>> = {
  overlay: 'overlay',
  veth: 'veth',
  bridge: 'bridge',
  nf_tables: 'nf_tables',
  nft_nat: 'nft_masq',
  nft_ct: 'nft_ct',
  nft_fib: 'nft_fib_ipv4',
  nft_numgen: 'nft_numgen',
};

/** Those that a kernel has not loaded; built-in ones are among them. @param loaded the text of /proc/modules */
export function findMissingModules(loaded: string): readonly string[] {
  const names = new Set(loaded.split('\n').map((line) => line.split(' ', 1)[0]));
  return Object.values(KERNEL_MODULES).filter((name) => !names.has(name));
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
