import { link, mkdir, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isSystemError, TkadmError } from '../base/errors.ts';
import { formatIpv4, parseIpv4Network } from './address.ts';

/** Who holds an address: one interface of one container. */
export interface AddressOwner {
  readonly containerId: string;
  readonly interfaceName: string;
}

/** Second address of a network: the bridge's own. */
export function gatewayOf(podCidr: string): string {
  return formatIpv4(parseIpv4Network(podCidr).base + 1);
}

/**
 * Reserves a free address of the network: a file named after it, made by link(2), so that two callers
 * never get the same one. Addresses are given out in turn, a freed one as late as possible.
 * @throws NETWORK_FULL when none is free.
 */
export async function reserveAddress(
  directory: string,
  podCidr: string,
  owner: AddressOwner,
): Promise<string> {
  await mkdir(directory, { recursive: true });
  const { base, prefix } = parseIpv4Network(podCidr);
  const count = 2 ** (32 - prefix);
  const held = await findAddresses(directory, owner);
  if (held[0] !== undefined) return held[0];
  const last = await readLast(directory);
  const first = last > base + 1 && last < base + count - 1 ? last - base : 1;
  const temporary = join(directory, `.reserve-${owner.containerId}-${owner.interfaceName}`);
  await writeFile(temporary, formatOwner(owner));
  try {
    for (let step = 1; step < count; step += 1) {
      const offset = (first + step) % count;
      if (offset < 2 || offset === count - 1) continue;
      const address = formatIpv4(base + offset);
      if (!(await tryLink(temporary, join(directory, address)))) continue;
      await writeFile(join(directory, '.last'), String(base + offset));
      return address;
    }
  } finally {
    await unlink(temporary);
  }
  throw new TkadmError(
    'NETWORK_FULL',
    `Cannot give "${owner.containerId}" an address: all of ${podCidr} are taken`,
  );
}

/** Frees what the owner holds and returns the addresses; no error when there is none. */
export async function releaseAddresses(directory: string, owner: AddressOwner): Promise<readonly string[]> {
  const addresses = await findAddresses(directory, owner);
  for (const address of addresses) await unlink(join(directory, address)).catch(() => {});
  return addresses;
}

/** The addresses that the owner holds. */
export async function findAddresses(directory: string, owner: AddressOwner): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  const found: string[] = [];
  for (const name of names) {
    if (name.startsWith('.')) continue;
    const text = await readFile(join(directory, name), 'utf8').catch(() => '');
    if (text === formatOwner(owner)) found.push(name);
  }
  return found;
}

function formatOwner(owner: AddressOwner): string {
  return `${owner.containerId}\n${owner.interfaceName}\n`;
}

async function readLast(directory: string): Promise<number> {
  return Number(await readFile(join(directory, '.last'), 'utf8').catch(() => '0')) || 0;
}

async function tryLink(source: string, target: string): Promise<boolean> {
  try {
    await link(source, target);
    return true;
  } catch (error) {
    if (isSystemError(error, 'EEXIST')) return false;
    throw error;
  }
}
