import { hostname } from 'node:os';
import { dump } from 'js-yaml';

/** The fields that every event has, in this order, whatever its type. */
export interface EventHead {
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  readonly type: string;
  /** "init", "join", "token create" */
  readonly command: string;
  /** The machine that the event is about: this one's name, or the address of one that is joined over SSH. */
  readonly host: string;
  /** "certs/ca"; null for events outside of phases. */
  readonly phase: string | null;
}

/** An event with what its type adds. */
export interface EventFields {
  readonly type: string;
  readonly phase?: string | null;
  readonly [name: string]: unknown;
}

export interface EventOrigin {
  readonly command: string;
  /** Default: this machine's name. */
  readonly host?: string | undefined;
  readonly now?: (() => Date) | undefined;
}

/** One event: a line of JSON, or a YAML document. */
export function formatEvent(event: EventFields, origin: EventOrigin, format: 'json' | 'yaml'): string {
  const { type, phase = null, ...others } = event;
  const time = (origin.now?.() ?? new Date()).toISOString();
  const head: EventHead = { time, type, command: origin.command, host: origin.host ?? hostname(), phase };
  const value = { ...head, ...others };
  return format === 'json' ? `${JSON.stringify(value)}\n` : `---\n${dump(value, { skipInvalid: true })}`;
}
