import { networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import type { SshSettings } from '../ssh/connection.ts';
import type { SshHost } from '../ssh/host.ts';
import { createLocalMachine } from '../ssh/local-machine.ts';
import { withMachine } from '../ssh/remote-command.ts';
import type { SshTarget } from '../ssh/target.ts';
import type { HostSsh } from './cluster-file.ts';

/** A machine of a run: how it is called in what is told, and how it is reached. */
export interface Member {
  /** Its address, as it was written. */
  readonly name: string;
  readonly target: SshTarget;
  readonly settings: SshSettings;
  /** It is this machine: no SSH. */
  readonly isLocal: boolean;
}

/** Works on a member: over a connection that is closed afterwards, or here. */
export function withMember<T>(
  { target, settings, isLocal }: Member,
  { signal, onNotice }: { readonly signal: AbortSignal; readonly onNotice: (text: string) => void },
  work: (host: SshHost) => Promise<T>,
): Promise<T> {
  if (isLocal) return work(createLocalMachine());
  return withMachine(target, { settings: { ...settings, onNotice }, signal }, work);
}

/** The member that a file's host is; what the host does not say, `base` does. */
export function toMember(
  { address, ssh, isLocal }: { address: string; ssh: HostSsh; isLocal?: boolean | undefined },
  { base, directory }: { readonly base: SshSettings; readonly directory: string },
): Member {
  const { user, port, identityFile, jump, become, hostKeys, hostKeyFingerprint } = ssh;
  return {
    name: address,
    target: {
      host: address,
      ...(port === undefined ? {} : { port }),
      ...(user === undefined ? {} : { user }),
    },
    settings: {
      ...base,
      ...(identityFile === undefined
        ? {}
        : { identityFiles: [expandHome(identityFile, base.person.home, directory)] }),
      ...(jump === undefined ? {} : { jumps: jump.split(',').filter((hop) => hop !== 'none') }),
      ...(become === undefined ? {} : { become }),
      ...(hostKeys === undefined ? {} : { hostKeyPolicy: hostKeys }),
      ...(hostKeyFingerprint === undefined ? {} : { pinnedFingerprint: hostKeyFingerprint }),
    },
    isLocal: isLocal ?? (port === undefined && isOwnAddress(address)),
  };
}

/** "~/.ssh/id" is the person's; what is relative is beside the file. */
function expandHome(path: string, home: string, directory: string): string {
  return path.startsWith('~/') ? join(home, path.slice(2)) : resolve(directory, path);
}

/** True for an address of one of this machine's interfaces. */
function isOwnAddress(address: string): boolean {
  if (address === 'localhost') return true;
  return Object.values(networkInterfaces()).some((rows) => rows?.some((row) => row.address === address));
}
