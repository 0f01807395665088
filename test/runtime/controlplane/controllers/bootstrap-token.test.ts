import { createHmac } from 'node:crypto';
import type { ConfigMap, Secret } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { CONFIG_MAPS, SECRETS } from '../../../../runtime/api/kinds.ts';
import { readTokenExpirations, updateTokenExpirations } from '../../../../runtime/api/token-expirations.ts';
import {
  createBootstrapSigner,
  createTokenCleaner,
} from '../../../../runtime/controlplane/controllers/bootstrap-token.ts';
import { viewOf } from '../component/view-of.ts';

const NOW = new Date('2026-05-01T12:00:00Z');
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000).toISOString().replace('.000', '');

function tokenSecret(id: string, values: Record<string, string> = {}): Secret {
  const all = {
    'token-id': id,
    'token-secret': '0123456789abcdef',
    'usage-bootstrap-signing': 'true',
    ...values,
  };
  return {
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    data: Object.fromEntries(
      Object.entries(all).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    ),
  };
}

const clusterInfo = (data: Record<string, string> = {}, annotations?: Record<string, string>): ConfigMap => ({
  metadata: { name: 'cluster-info', namespace: 'kube-public', ...(annotations ? { annotations } : {}) },
  data: { kubeconfig: 'text', ...data },
});

/** The ConfigMap after the signer has looked; undefined when it leaves it alone. */
async function sign(configMap: ConfigMap, secrets: readonly Secret[], now = NOW) {
  const view = viewOf([
    [CONFIG_MAPS, [configMap]],
    [SECRETS, secrets],
  ] as never);
  const result = await createBootstrapSigner().reconcile('kube-public/cluster-info', { view, now } as never);
  const [action] = result.actions as readonly { readonly object?: ConfigMap }[];
  return { written: action?.object, requeueAfterMs: result.requeueAfterMs };
}

t.test(
  'bootstrap signer: one signature for each token that is for signing and has not expired',
  async (t) => {
    const { written, requeueAfterMs } = await sign(clusterInfo({ 'jws-kubeconfig-gonexx': 'old' }), [
      tokenSecret('forevr'),
      tokenSecret('lateer', { expiration: later(60) }),
      tokenSecret('passed', { expiration: later(-60) }),
      tokenSecret('noosig', { 'usage-bootstrap-signing': 'false' }),
    ]);
    t.same(Object.keys(written?.data ?? {}).sort(), [
      'jws-kubeconfig-forevr',
      'jws-kubeconfig-lateer',
      'kubeconfig',
    ]);
    const [header, , signature] = written?.data?.['jws-kubeconfig-forevr']?.split('.') ?? [];
    t.same(JSON.parse(Buffer.from(header ?? '', 'base64url').toString()), { alg: 'HS256', kid: 'forevr' });
    const expected = createHmac('sha256', '0123456789abcdef').update(
      `${header}.${Buffer.from('text').toString('base64url')}`,
    );
    t.equal(signature, expected.digest('base64url'));
    t.equal(requeueAfterMs, 60_000);
    t.same(readTokenExpirations(written ?? {}), { lateer: later(60), passed: later(-60) });
    t.equal((await sign(written!, [])).written?.data?.['jws-kubeconfig-forevr'], undefined);
  },
);

t.test('bootstrap signer: the end of a token outlives its Secret, a deleted one is forgotten', async (t) => {
  const secrets = [
    tokenSecret('passed', { expiration: later(10) }),
    tokenSecret('delete', { expiration: later(9999) }),
  ];
  const { written } = await sign(clusterInfo(), secrets);
  t.equal((await sign(written!, secrets)).written, undefined, 'nothing is written twice');
  const after = await sign(written!, [], new Date(NOW.getTime() + 20_000));
  t.same(readTokenExpirations(after.written!), { passed: later(10) });
  t.same(Object.keys(after.written?.data ?? {}), ['kubeconfig']);
  t.equal((await sign(clusterInfo(), [tokenSecret('forevr')])).written?.metadata?.annotations, undefined);
});

t.test('updateTokenExpirations() forgets after a month and keeps the newest hundred', (t) => {
  const known = Object.fromEntries(
    Array.from({ length: 150 }, (_, index) => [`t${String(index).padStart(5, '0')}`, later(-index * 60)]),
  );
  const kept = updateTokenExpirations({ ...known, ancien: later(-31 * 86_400) }, {}, NOW);
  t.equal(Object.keys(kept).length, 100);
  t.ok(kept['t00000'] && !kept['t00149'] && !kept['ancien']);
  t.same(readTokenExpirations({ metadata: { annotations: { 'tkadm.io/token-expirations': '{"a":1' } } }), {});
  t.end();
});

t.test('token cleaner deletes an expired token and waits for others', async (t) => {
  const look = (secret: Secret) =>
    createTokenCleaner().reconcile(`kube-system/${secret.metadata?.name}`, {
      view: viewOf([[SECRETS, [secret]]] as never),
      now: NOW,
    } as never);
  t.equal((await look(tokenSecret('passed', { expiration: later(-1) }))).actions.length, 1);
  t.match(await look(tokenSecret('lateer', { expiration: later(5) })), { actions: [], requeueAfterMs: 5000 });
  t.same((await look(tokenSecret('forevr'))).actions, []);
});
