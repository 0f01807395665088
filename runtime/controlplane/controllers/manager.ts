import type { ApiClient } from '../../api/client.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import { ClusterCache, stripToMetadata } from '../component/cluster-cache.ts';
import { EventRecorder } from '../component/event-recorder.ts';
import type { Controller } from './controller.ts';
import { runController } from './run.ts';
import { createServiceAccountClient } from './service-account-client.ts';
import type { ControllerSettings } from './settings.ts';
import type { ControllerRow } from './table.ts';

export interface ManagerOptions {
  readonly rows: readonly ControllerRow[];
  readonly settings: ControllerSettings;
  /** Each controller acts as its own service account. */
  readonly usesServiceAccounts: boolean;
  readonly now: () => Date;
  readonly log: Logger;
}

/** Metadata of rarely used kinds is read once the control loops have what they need. */
const METADATA_DELAY_MS = 500;

/** The chosen controllers over one shared copy of the cluster. */
export class ControllerManager {
  readonly #options: ManagerOptions;
  readonly #entries: readonly { readonly controller: Controller; readonly account: string | undefined }[];
  #cache: ClusterCache | undefined;
  #metadataFollowed: Promise<void> = Promise.resolve();
  readonly #resyncs = new Set<() => void>();

  constructor(options: ManagerOptions) {
    this.#options = options;
    this.#entries = options.rows.flatMap((row) => {
      const controller = row.create(options.settings);
      return controller ? [{ controller, account: row.serviceAccount }] : [];
    });
  }

  /** Begins to follow every kind that the controllers read. */
  follow(client: ApiClient, signal: AbortSignal): void {
    const { log } = this.#options;
    const cache = new ClusterCache(client, { signal, log: log.child('cache') });
    this.#cache = cache;
    const rows = this.#entries.flatMap(({ controller }) => controller.watches);
    for (const row of rows) if (!row.metadataOnly) cache.follow(row.kind);
    this.#metadataFollowed = sleep(METADATA_DELAY_MS, signal).then(
      () => {
        for (const row of rows) if (row.metadataOnly) cache.follow(row.kind, stripToMetadata);
      },
      () => {},
    );
  }

  /** Has every controller look at all of its objects again: a file that it reads has changed. */
  resync(): void {
    for (const resync of this.#resyncs) resync();
  }

  /** Runs the controllers until the signal ends them; one that fails ends all. */
  async run(client: ApiClient, signal: AbortSignal): Promise<void> {
    const { now, log } = this.#options;
    const cache = this.#cache;
    if (!cache) throw new Error('follow() comes before run()');
    const runs = this.#entries.map(async ({ controller, account }) => {
      if (controller.watches.some((row) => row.metadataOnly)) await this.#metadataFollowed;
      const own =
        account && this.#options.usesServiceAccounts
          ? await createServiceAccountClient({ client, name: account, signal, log })
          : client;
      const recorder = new EventRecorder({ client: own, component: controller.name, now });
      const record = recorder.record.bind(recorder);
      const onResync = (resync: () => void) => void this.#resyncs.add(resync);
      await runController(controller, { client: own, cache, record, onResync, signal, now, log });
    });
    await Promise.all(runs);
  }
}
