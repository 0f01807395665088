import type * as core from 'kubernetes-types/core/v1.d.ts';
import { EVENTS, type KubeObject } from '../api/kinds.ts';
import { formatTime } from '../api/time.ts';
import type { Logger } from '../base/log.ts';
import type { ApiLink } from './api-link.ts';

export type EventType = 'Normal' | 'Warning';

export interface EventTarget {
  readonly kind: 'Pod' | 'Node';
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid: string;
  /** "spec.containers{web}" */
  readonly fieldPath?: string | undefined;
}

export interface EventText {
  readonly type: EventType;
  readonly reason: string;
  readonly message: string;
}

/** Records events about pods and the node; never fails its caller. */
export interface EventRecorder {
  record(target: EventTarget, text: EventText): void;
}

export interface EventRecorderOptions {
  readonly link: ApiLink;
  readonly nodeName: string;
  readonly now: () => Date;
  readonly log: Logger;
}

interface Seen {
  readonly name: string;
  readonly namespace: string;
  count: number;
  firstAt: string;
  lastAtMs: number;
}

const MAX_REMEMBERED = 2048;
const MAX_QUEUED = 1000;
const MAX_MESSAGE = 1024;
const AGGREGATION_MS = 10 * 60_000;

/**
 * Writes core/v1 events; the same event again within ten minutes raises the count of the first one
 * (client-go `record.EventCorrelator`). Without an API server the newest thousand wait.
 */
export class ApiEventRecorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #seen = new Map<string, Seen>();
  readonly #queue: { readonly target: EventTarget; readonly text: EventText; readonly at: Date }[] = [];
  #isSending = false;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    options.link.onSession(() => void this.#send());
  }

  record(target: EventTarget, text: EventText): void {
    this.#options.log.debug(`${text.reason}: ${text.message}`, { [target.kind.toLowerCase()]: target.name });
    this.#queue.push({ target, text, at: this.#options.now() });
    if (this.#queue.length > MAX_QUEUED) this.#queue.shift();
    void this.#send();
  }

  async #send(): Promise<void> {
    if (this.#isSending || !this.#options.link.client) return;
    this.#isSending = true;
    try {
      for (let next = this.#queue[0]; next; next = this.#queue[0]) {
        await this.#write(next.target, next.text, next.at);
        this.#queue.shift();
      }
    } catch (error) {
      const isUnreachable = (error as { code?: string }).code === 'API_UNREACHABLE';
      if (!isUnreachable) this.#queue.shift();
      this.#options.log.debug(`Cannot write an event: ${(error as Error).message}`);
      setTimeout(() => void this.#send(), isUnreachable ? 1000 : 0).unref();
    } finally {
      this.#isSending = false;
    }
  }

  async #write(target: EventTarget, text: EventText, at: Date): Promise<void> {
    const client = this.#options.link.requireClient();
    const message = text.message.slice(0, MAX_MESSAGE);
    const key = JSON.stringify([target.uid, target.fieldPath, text.type, text.reason, message]);
    const seen = this.#seen.get(key);
    if (seen && at.getTime() - seen.lastAtMs < AGGREGATION_MS) {
      seen.count += 1;
      seen.lastAtMs = at.getTime();
      const body = { count: seen.count, lastTimestamp: formatTime(at) };
      try {
        await client.patch(EVENTS, seen, { type: 'merge', body });
        return;
      } catch (error) {
        if ((error as { httpStatus?: number }).httpStatus !== 404) throw error;
      }
    }
    const event = buildEvent(target, { ...text, message }, { at, nodeName: this.#options.nodeName });
    await client.create(EVENTS, event);
    this.#remember(key, event, at);
  }

  #remember(key: string, event: KubeObject, at: Date): void {
    this.#seen.delete(key);
    this.#seen.set(key, {
      name: event.metadata?.name ?? '',
      namespace: event.metadata?.namespace ?? '',
      count: 1,
      firstAt: at.toISOString(),
      lastAtMs: at.getTime(),
    });
    const oldest = this.#seen.keys().next().value;
    if (this.#seen.size > MAX_REMEMBERED && oldest !== undefined) this.#seen.delete(oldest);
  }
}

/** The core/v1 Event about a target, named "<object>.<time in hex>" as client-go does. */
function buildEvent(
  target: EventTarget,
  text: EventText,
  { at, nodeName }: { readonly at: Date; readonly nodeName: string },
): core.Event {
  const nanos = BigInt(at.getTime()) * 1_000_000n + BigInt(Math.floor(Math.random() * 1e6));
  const namespace = target.namespace ?? 'default';
  return {
    metadata: { name: `${target.name}.${nanos.toString(16)}`, namespace },
    involvedObject: {
      apiVersion: 'v1',
      kind: target.kind,
      name: target.name,
      uid: target.uid,
      ...(target.namespace ? { namespace: target.namespace } : {}),
      ...(target.fieldPath ? { fieldPath: target.fieldPath } : {}),
    },
    ...text,
    source: { component: 'kubelet', host: nodeName },
    reportingComponent: 'kubelet',
    reportingInstance: nodeName,
    firstTimestamp: formatTime(at),
    lastTimestamp: formatTime(at),
    count: 1,
  } as core.Event;
}
