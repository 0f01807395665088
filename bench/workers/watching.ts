import type { ApiClient } from '../../runtime/api/client.ts';
import { PODS } from '../../runtime/api/kinds.ts';

/** One line of JSON for the program that started this one. */
export function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Watches a pod while `create` makes it; returns when its Running was seen (milliseconds since 1970). */
export async function runningAt(
  client: ApiClient,
  namespace: string,
  name: string,
  create: () => Promise<void>,
): Promise<number> {
  const abort = new AbortController();
  const { metadata } = await client.list(PODS, { namespace });
  const events = client.watch(PODS, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    resourceVersion: metadata.resourceVersion,
    signal: abort.signal,
  });
  const seen = (async () => {
    for await (const event of events) {
      if (event.type !== 'MODIFIED' && event.type !== 'ADDED') continue;
      if (event.object.status?.phase === 'Running') return Date.now();
    }
    throw new Error(`the watch of pod "${name}" ended`);
  })();
  await create();
  const at = await seen;
  abort.abort();
  return at;
}
