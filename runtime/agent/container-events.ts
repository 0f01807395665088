import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import { type CriClient, criErrorCode } from '../cri/client.ts';
import { LABELS, type RuntimeReader } from './runtime-state.ts';

export interface ContainerEventsOptions {
  readonly cri: CriClient;
  readonly reader: RuntimeReader;
  /** Something of this pod changed in the runtime. */
  readonly onChange: (podUid: string) => void;
  /** All pods that the runtime has, after each list. */
  readonly onList: (podUids: ReadonlySet<string>) => void;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const LIST_MS = 1000;
/** With a stream of events the list is only a safety net. */
const LIST_WITH_STREAM_MS = 15_000;
const RETRY_MS = 300;

/** Notices every change of containers: by the runtime's event stream, and by lists where there is none. */
export class ContainerEvents {
  readonly #options: ContainerEventsOptions;
  #isStreaming = false;
  #fingerprints = new Map<string, string>();
  #isFirst = true;

  constructor(options: ContainerEventsOptions) {
    this.#options = options;
    void this.#follow();
    void this.#listForEver();
  }

  async #follow(): Promise<void> {
    const { cri, log, signal, onChange } = this.#options;
    while (!signal.aborted) {
      try {
        for await (const event of cri.getContainerEvents({}, { signal })) {
          this.#isStreaming = true;
          const uid =
            event.podSandboxStatus?.metadata?.uid ?? event.containersStatuses[0]?.labels[LABELS.podUid] ?? '';
          if (uid !== '') onChange(uid);
          else await this.#list();
        }
      } catch (error) {
        if (signal.aborted) return;
        if (criErrorCode(error) === 'UNIMPLEMENTED') {
          log.info('The runtime has no event stream: listing containers every second');
          return;
        }
        log.debug(`Lost the event stream: ${(error as Error).message}`);
      }
      this.#isStreaming = false;
      await sleep(RETRY_MS, signal).catch(() => {});
    }
  }

  async #listForEver(): Promise<void> {
    const { log, signal } = this.#options;
    while (!signal.aborted) {
      await this.#list().catch((error: Error) => log.debug(`Cannot list containers: ${error.message}`));
      await sleep(this.#isStreaming ? LIST_WITH_STREAM_MS : LIST_MS, signal).catch(() => {});
    }
  }

  async #list(): Promise<void> {
    const { reader, onChange, onList } = this.#options;
    const fresh = await reader.readFingerprints();
    const before = this.#fingerprints;
    this.#fingerprints = fresh;
    if (!this.#isFirst) {
      for (const uid of new Set([...before.keys(), ...fresh.keys()])) {
        if (before.get(uid) !== fresh.get(uid)) onChange(uid);
      }
    }
    this.#isFirst = false;
    onList(new Set(fresh.keys()));
  }
}
