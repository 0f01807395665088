import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { type Answer, decode, encode } from 'dns-packet';
import type { Service } from 'kubernetes-types/core/v1.d.ts';
import type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import t from 'tap';
import { parseCorefile, resolveDnsConfig } from '../../../runtime/network/dns/corefile.ts';
import { parseResolvConf, parseUpstream } from '../../../runtime/network/dns/forward.ts';
import { buildRecords } from '../../../runtime/network/dns/records.ts';
import { Resolver } from '../../../runtime/network/dns/resolver.ts';
import { startDnsServer } from '../../../runtime/network/dns/server.ts';

const COREFILE = `.:53 {
  errors
  health {
    lameduck 5s
  }
  ready
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
    ttl 30
  }
  prometheus :9153
  forward . /etc/resolv.conf {
    max_concurrent 1000
  }
  cache 30 {
    disable success cluster.local
    disable denial cluster.local
  }
  loop
  reload
  loadbalance
}
`;

t.test('parseCorefile() reads kubeadm’s file and refuses by name', async (t) => {
  t.match(resolveDnsConfig(parseCorefile(COREFILE)), {
    port: 53,
    clusterDomain: 'cluster.local',
    ttlSeconds: 30,
    answersPods: true,
    healthPort: 8080,
    lameDuckMs: 5000,
    readyPort: 8181,
    metricsAddress: ':9153',
    forwardTo: ['/etc/resolv.conf'],
    cacheSeconds: 30,
    reloadMs: 30_000,
    shuffles: true,
  });
  const refused = [
    { from: '  loop', to: '  rewrite', message: /line 20 .*"rewrite"/ },
    { from: 'ttl 30', to: 'endpoint_pod_names', message: /"endpoint_pod_names" of "kubernetes"/ },
    { from: 'insecure', to: 'verified', message: /"pods verified"/ },
    { from: '.:53 {', to: '}', message: /closes nothing/ },
  ];
  for (const { from, to, message } of refused) {
    t.throws(() => parseCorefile(COREFILE.replace(from, to)), { code: 'COREFILE_INVALID', message }, to);
  }
  t.throws(() => resolveDnsConfig(parseCorefile(`${COREFILE}a.b {\n}\n`)), { message: /one server block/ });
  t.throws(() => parseUpstream('tls://1.1.1.1'), { message: /"tls:\/\/1\.1\.1\.1"/ });
  const left: string[] = [];
  t.same(
    parseResolvConf('nameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver ::1\n', (host) => left.push(host)),
    [{ host: '9.9.9.9', port: 53 }],
  );
  t.same(left, ['127.0.0.53', '::1']);
});

const service = (name: string, spec: object) => ({ metadata: { namespace: 'd', name }, spec }) as Service;
const SERVICES = [
  service('web', { clusterIP: '10.96.0.7', ports: [{ name: 'http', port: 80 }] }),
  service('db', { clusterIP: 'None' }),
  service('big', { clusterIP: 'None' }),
  service('out', { type: 'ExternalName', externalName: 'www.example.org' }),
];
const slice = (name: string, endpoints: object[]) =>
  ({
    addressType: 'IPv4',
    metadata: { namespace: 'd', labels: { 'kubernetes.io/service-name': name } },
    ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }],
    endpoints,
  }) as unknown as EndpointSlice;
const SLICES = [
  slice('db', [
    { addresses: ['10.1.0.1'], hostname: 'db-0' },
    { addresses: ['10.1.0.2'] },
    { addresses: ['10.1.0.3'], conditions: { ready: false } },
  ]),
  slice(
    'big',
    Array.from({ length: 100 }, (_, index) => ({ addresses: [`10.2.0.${index}`] })),
  ),
];

/** Answers every name with A 192.0.2.80, "none…" with NXDOMAIN; counts the questions. */
async function startUpstream() {
  const socket = createSocket('udp4');
  const asked: string[] = [];
  socket.on('message', (message, peer) => {
    const query = decode(message);
    const { name = '', type = 'A' } = query.questions?.[0] ?? {};
    asked.push(`${name} ${type}`);
    const isNone = name.startsWith('none');
    const soa: Answer = {
      name: 'org',
      type: 'SOA',
      ttl: 60,
      data: { mname: 'a.org', rname: 'b.org', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 9 },
    };
    const answers: Answer[] =
      isNone || type !== 'A' ? [] : [{ name, type: 'A', ttl: 60, data: '192.0.2.80' }];
    const reply = {
      id: query.id ?? 0,
      type: 'response',
      flags: isNone ? 3 : 0,
      questions: query.questions ?? [],
      answers,
      authorities: answers.length ? [] : [soa],
    } as const;
    socket.send(encode({ ...reply, answers: [...answers] }), peer.port, peer.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { port: socket.address().port, asked, close: () => socket.close() };
}

t.test('the server answers dig', async (t) => {
  const upstream = await startUpstream();
  let now = 0;
  const records = buildRecords(SERVICES, SLICES, 'cluster.local');
  const resolver = new Resolver({
    config: resolveDnsConfig(parseCorefile(COREFILE)),
    upstreams: [{ host: '127.0.0.1', port: upstream.port }],
    records: () => records,
    now: () => now,
    random: Math.random,
    onError: () => {},
  });
  const port = 20_000 + Math.floor(Math.random() * 30_000);
  const close = await startDnsServer(resolver, port, '127.0.0.1');
  t.teardown(() => {
    close();
    upstream.close();
  });
  const dig = async (...args: string[]) =>
    (await promisify(execFile)('dig', ['@127.0.0.1', '-p', `${port}`, '+tries=1', '+time=2', ...args]))
      .stdout;
  const short = async (...args: string[]) => (await dig('+short', ...args)).trim().split('\n').sort();

  const rows: readonly { readonly ask: readonly string[]; readonly want: readonly string[] }[] = [
    { ask: ['web.d.svc.cluster.local'], want: ['10.96.0.7'] },
    { ask: ['+tcp', 'web.d.svc.cluster.local'], want: ['10.96.0.7'] },
    { ask: ['db.d.svc.cluster.local'], want: ['10.1.0.1', '10.1.0.2'] },
    { ask: ['db-0.db.d.svc.cluster.local'], want: ['10.1.0.1'] },
    { ask: ['10-1-0-2.db.d.svc.cluster.local'], want: ['10.1.0.2'] },
    { ask: ['SRV', '_http._tcp.web.d.svc.cluster.local'], want: ['0 100 80 web.d.svc.cluster.local.'] },
    { ask: ['-x', '10.96.0.7'], want: ['web.d.svc.cluster.local.'] },
    { ask: ['-x', '10.1.0.1'], want: ['db-0.db.d.svc.cluster.local.'] },
    { ask: ['1-2-3-4.d.pod.cluster.local'], want: ['1.2.3.4'] },
    { ask: ['TXT', 'dns-version.cluster.local'], want: ['"1.1.0"'] },
    { ask: ['www.example.org'], want: ['192.0.2.80'] },
    { ask: ['out.d.svc.cluster.local'], want: ['192.0.2.80', 'www.example.org.'] },
    {
      ask: ['+tcp', '+noedns', 'big.d.svc.cluster.local'],
      want: Array.from({ length: 100 }, (_, i) => `10.2.0.${i}`).sort(),
    },
  ];
  for (const { ask, want } of rows) t.same(await short(...ask), want, ask.join(' '));

  t.match(await dig('nope.d.svc.cluster.local'), /status: NXDOMAIN[\s\S]*\sSOA\s/, 'NXDOMAIN with SOA');
  for (const type of ['AAAA', 'HTTPS', 'MX']) {
    const text = await dig(type, 'web.d.svc.cluster.local');
    t.match(
      text,
      /status: NOERROR[\s\S]*ANSWER: 0[\s\S]*\sSOA\s/,
      `${type} of an IPv4 name is an empty answer`,
    );
  }
  t.match(await dig('d.svc.cluster.local'), /status: NOERROR/, 'an empty name exists');
  t.match(await dig('weB.D.svc.clusteR.local'), /weB\.D\.svc\.clusteR\.local\.\s+30\s+IN\s+A\s+10\.96\.0\.7/);
  const cut = await dig('+noedns', '+ignore', 'big.d.svc.cluster.local');
  t.match(cut, /flags: [^;]*\btc\b/);
  t.match(cut, /10\.2\.0\.\d+/, 'what fits is there');
  t.notMatch(await dig('+bufsize=1232', '+ignore', 'db.d.svc.cluster.local'), /flags: [^;]*\btc\b/);

  upstream.asked.length = 0;
  await dig('cached.example.org');
  now = 20_000;
  t.match(
    await dig('CaChEd.example.org'),
    /;CaChEd\.example\.org\.[\s\S]*\s40\s+IN\s+A/,
    'letters and lifetime',
  );
  t.equal(upstream.asked.length, 1, 'kept');
  now = 31_000;
  await dig('cached.example.org');
  t.equal(upstream.asked.length, 2, 'no longer than "cache 30" says');
  t.match(await dig('none.example.org'), /status: NXDOMAIN/);
  now += 8_000;
  await dig('none.example.org');
  now += 2_000;
  await dig('none.example.org');
  t.equal(upstream.asked.length, 4, 'a refusal is kept for the minimum of its SOA (RFC 2308)');
  resolver.configure(resolveDnsConfig(parseCorefile(COREFILE.replace('ttl 30', 'ttl 7'))), []);
  t.match(await dig('web.d.svc.cluster.local'), /\s7\s+IN\s+A/, 'configured again');
  t.match(await dig('www.example.org'), /status: SERVFAIL/);
});
