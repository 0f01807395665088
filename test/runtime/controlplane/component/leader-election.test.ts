import t from 'tap';
import type { ApiClient } from '../../../../runtime/api/client.ts';
import { LEASES } from '../../../../runtime/api/kinds.ts';
import { SILENT_LOGGER } from '../../../../runtime/base/log.ts';
import { sleep, waitFor } from '../../../../runtime/base/time.ts';
import {
  acquireLeadership,
  formatIdentity,
  keepLeadership,
} from '../../../../runtime/controlplane/component/leader-election.ts';
import { startTestServer } from '../apiserver/test-server.ts';

const REF = { namespace: 'kube-system', name: 'test' };

t.test('keepLeadership() writes over its own version, and notices what others wrote', async (t) => {
  const server = await startTestServer(t);
  const client = await server.client('admin');
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const options = {
    ...REF,
    client,
    identity: 'host_1',
    leaseDurationMs: 15_000,
    renewDeadlineMs: 2_000,
    retryPeriodMs: 100,
    signal: controller.signal,
    now: () => new Date(),
    log: SILENT_LOGGER,
  };
  let end: string | undefined;
  const lease = await acquireLeadership(options);
  void keepLeadership(options, lease).then((result) => {
    end = result;
  });
  const renewedAfter = (before: string | undefined) =>
    waitFor(
      async () => {
        const { spec } = await client.get(LEASES, REF);
        return spec?.renewTime !== before && spec?.holderIdentity === 'host_1' ? spec : undefined;
      },
      { subject: 'a renewal', timeoutMs: 20_000, intervalMs: 50 },
    );
  const { renewTime } = await renewedAfter(lease.spec?.renewTime);

  const patch = (body: object) => client.patch(LEASES, REF, { type: 'merge', body });
  await patch({ metadata: { annotations: { a: 'b' } } });
  await renewedAfter(renewTime);
  await renewedAfter((await client.get(LEASES, REF)).spec?.renewTime);
  const { metadata } = await client.get(LEASES, REF);
  t.equal(metadata?.annotations?.['a'], 'b', 'what others wrote stays');
  t.equal(end, undefined, 'it still leads');

  await patch({ spec: { holderIdentity: 'other_2' } });
  await waitFor(async () => end, { subject: 'the end', timeoutMs: 20_000 });
  t.equal(end, 'lost');
  t.equal((await client.get(LEASES, REF)).spec?.holderIdentity, 'other_2');
});

t.test(
  'acquireLeadership() takes the lease of a predecessor on this host at once, and of nobody else',
  async (t) => {
    const server = await startTestServer(t);
    const client = await server.client('admin');
    const controller = new AbortController();
    t.teardown(() => controller.abort());
    const acquire = (identity: string, signal: AbortSignal) =>
      acquireLeadership({
        ...REF,
        client,
        identity,
        leaseDurationMs: 3_600_000,
        renewDeadlineMs: 10_000,
        retryPeriodMs: 50,
        signal,
        now: () => new Date(),
        log: SILENT_LOGGER,
      });
    const identity = (hostname: string, bootId: string, id: string) =>
      formatIdentity({ hostname, bootId, id });
    await acquire(identity('n1', 'boot-a', '1'), controller.signal);
    const taken = await acquire(identity('n1', 'boot-a', '2'), controller.signal);
    t.equal(taken.spec?.holderIdentity, 'n1_boot-a_2');
    t.equal(taken.spec?.leaseTransitions, 1);
    for (const other of [identity('n2', 'boot-a', '3'), identity('n1', 'boot-b', '4')]) {
      const end = new AbortController();
      const acquiring = acquire(other, end.signal);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      end.abort();
      await t.rejects(acquiring, other);
    }
    t.equal((await client.get(LEASES, REF)).spec?.holderIdentity, 'n1_boot-a_2');

    await client.patch(LEASES, REF, { type: 'merge', body: { spec: { leaseDurationSeconds: 1 } } });
    const late = await acquire(identity('n2', 'boot-c', '5'), controller.signal);
    t.equal(late.spec?.holderIdentity, 'n2_boot-c_5', 'a lease whose holder is silent for its time is free');
  },
);

t.test('keepLeadership() gives up within the renew deadline, however long requests hang', async (t) => {
  const timeouts: number[] = [];
  const hang = async (timeoutMs: number) => {
    timeouts.push(timeoutMs);
    await sleep(timeoutMs);
    throw new Error('no answer');
  };
  const client = {
    get: (_kind: unknown, _ref: unknown, { timeoutMs }: { readonly timeoutMs: number }) => hang(timeoutMs),
    update: async (_kind: unknown, _lease: unknown, { timeoutMs }: { readonly timeoutMs: number }) => {
      timeouts.push(timeoutMs);
      throw new Error('broken connection');
    },
  } as unknown as ApiClient;
  const renewDeadlineMs = 1_000;
  const end = await keepLeadership(
    {
      ...REF,
      client,
      identity: 'n_b_1',
      leaseDurationMs: 1_500,
      renewDeadlineMs,
      retryPeriodMs: 200,
      signal: new AbortController().signal,
      now: () => new Date(),
      log: SILENT_LOGGER,
    },
    { spec: { holderIdentity: 'n_b_1' } },
  );
  t.equal(end, 'lost');
  t.ok(timeouts.length >= 2, 'it was tried again');
  t.ok(timeouts.at(-1)! < renewDeadlineMs, 'the last try had only what was left');
});
