import t from 'tap';
import { LEASES } from '../../../../runtime/api/kinds.ts';
import { SILENT_LOGGER } from '../../../../runtime/base/log.ts';
import { waitFor } from '../../../../runtime/base/time.ts';
import {
  acquireLeadership,
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
      { subject: 'a renewal', timeoutMs: 5_000, intervalMs: 50 },
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
  await waitFor(async () => end, { subject: 'the end', timeoutMs: 5_000 });
  t.equal(end, 'lost');
  t.equal((await client.get(LEASES, REF)).spec?.holderIdentity, 'other_2');
});
