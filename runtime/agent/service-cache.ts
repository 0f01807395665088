import type * as core from 'kubernetes-types/core/v1.d.ts';
import { Informer } from '../api/informer.ts';
import { SERVICES } from '../api/kinds.ts';
import type { ApiLink } from './api-link.ts';

/** The cluster's Services; a caller waits for the first full list. */
export class ServiceCache {
  #informer: Informer<core.Service> | undefined;
  readonly #first: Promise<void>;

  constructor(link: ApiLink) {
    let markFirst = () => {};
    this.#first = new Promise((resolve) => {
      markFirst = resolve;
    });
    link.onSession(({ client, signal }) => {
      this.#informer = new Informer(client, SERVICES, { signal });
      markFirst();
    });
  }

  async list(): Promise<readonly core.Service[]> {
    await this.#first;
    await this.#informer?.synced();
    return this.#informer?.list() ?? [];
  }
}
