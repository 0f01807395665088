import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ClientChannel } from 'ssh2';
import type { CommandOptions } from '../../runtime/base/host.ts';

/** Writes what a command gets on standard input, and closes it. */
export function sendInput(
  channel: Writable & { readonly close?: () => void },
  input: CommandOptions['input'],
): void {
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array) {
    channel.end(input);
    return;
  }
  // One piece is read ahead; the channel keeps as much as its window.
  const source = input instanceof Readable ? input : Readable.from(input, { highWaterMark: 1 });
  pipeline(source, channel).catch(() => channel.close?.());
}

/** The exit code of a channel's command; 255 when the connection ended first, as ssh(1) has it. */
export function waitForExit(channel: ClientChannel): Promise<number> {
  return new Promise((resolve) => {
    let exitCode = 255;
    channel.on('exit', (code: number | null, signal?: string) => {
      exitCode = code ?? (signal ? 128 + 15 : 255);
    });
    channel.on('close', () => resolve(exitCode));
  });
}
