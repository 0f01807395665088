import { hostname, userInfo } from 'node:os';
import type { BecomeChoice } from '../ssh/become.ts';
import type { HostKeyPolicy, SshUser } from '../ssh/config-resolve.ts';
import type { SshSettings } from '../ssh/connection.ts';
import { SshPrompts } from '../ssh/prompts.ts';
import type { CliContext } from './context.ts';

/** Flags of every command that reaches machines over SSH. */
export interface SshOptions {
  readonly sshUser?: string;
  readonly sshIdentity?: readonly string[];
  readonly sshHostKeys?: HostKeyPolicy;
  readonly sshFingerprint?: string;
  readonly sshConfig?: string;
  readonly sshJump?: string;
  readonly sshBecome?: BecomeChoice;
}

/** User of machines for which nothing else says one: what is done there is root's. */
const DEFAULT_SSH_USER = 'root';

/** The person at this machine, for ssh_config(5). */
function readPerson({ env, cwd, uid }: CliContext, configPath?: string): SshUser {
  const { username, homedir } = userInfo();
  return { home: env['HOME'] ?? homedir, cwd, name: username, uid, hostname: hostname(), env, configPath };
}

/** What flags, environment and terminal say of the SSH connections of one command. */
export function buildSshSettings(context: CliContext, options: SshOptions): SshSettings {
  const { sshIdentity, sshHostKeys, sshFingerprint, sshJump, sshBecome } = options;
  return {
    person: readPerson(context, options.sshConfig),
    prompts: new SshPrompts(context.isTerminal && context.isInputTerminal ? context.ask : undefined),
    defaultUser: DEFAULT_SSH_USER,
    identityFiles: sshIdentity ?? [],
    password: context.env['TKADM_SSH_PASSWORD'],
    becomePassword: context.env['TKADM_SUDO_PASSWORD'] ?? context.env['TKADM_SSH_PASSWORD'],
    become: sshBecome,
    hostKeyPolicy: sshHostKeys,
    pinnedFingerprint: sshFingerprint,
    jumps: sshJump === undefined ? undefined : sshJump.split(',').filter((jump) => jump !== 'none'),
  };
}
