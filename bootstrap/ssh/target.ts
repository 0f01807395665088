import { isIPv4 } from 'node:net';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { TypedHost } from './config-resolve.ts';

/** An address as it was typed, e.g. "admin@10.0.0.5:2222"; what is missing comes from ssh_config or a default. */
export type SshTarget = TypedHost;

/**
 * Parses "user@host:port", "[v6]:port", "ssh://user@host:port" or a plain address or alias.
 * @throws USAGE when the text is no address.
 */
export function parseSshTarget(text: string): SshTarget {
  const match =
    /^(?:ssh:\/\/)?(?:([^@\s]+)@)?(?:\[([^\]\s]+)\]|([^:\s/[\]]+)|([0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F.]*))(?::(\d+))?\/?$/.exec(
      text,
    );
  const host = match?.[2] ?? match?.[3] ?? match?.[4];
  const port = match?.[5] === undefined ? undefined : Number(match[5]);
  if (!match || !host || host.startsWith('-') || (port !== undefined && (port < 1 || port > 65_535))) {
    throw new TkadmError('USAGE', `Cannot read SSH address "${text}": it is not of the form user@host:port`);
  }
  if (/^\d+(\.\d+){3}$/.test(host) && !isIPv4(host))
    throw new TkadmError('USAGE', `Cannot use SSH address "${text}": "${host}" is no IPv4 address`);
  return {
    host,
    ...(port === undefined ? {} : { port }),
    ...(match[1] === undefined ? {} : { user: match[1] }),
  };
}
