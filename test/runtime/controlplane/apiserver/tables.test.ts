import t from 'tap';
import { RESOURCES } from '../../../../runtime/api/resources.ts';
import {
  convertIn,
  convertOut,
  storedRowOf,
  storedRows,
} from '../../../../runtime/controlplane/apiserver/conversions.ts';
import { API_SERVER_FLAGS } from '../../../../runtime/controlplane/apiserver/flags.ts';
import { parseAccept } from '../../../../runtime/controlplane/apiserver/negotiate.ts';
import { parseRequest, RouteTable } from '../../../../runtime/controlplane/apiserver/routes.ts';
import { qosClassOf, STRATEGY_NAMES } from '../../../../runtime/controlplane/apiserver/strategies.ts';
import { formatKeyPrefix, formatResource } from '../../../../runtime/controlplane/store/keys.ts';

t.test('every strategy is of a resource that is stored', (t) => {
  const names = storedRows(RESOURCES).map(formatResource);
  for (const name of STRATEGY_NAMES) t.ok(names.includes(name), name);
  t.end();
});

t.test('no two stored resources share keys', (t) => {
  const prefixes = storedRows(RESOURCES).map(formatKeyPrefix);
  t.equal(new Set(prefixes).size, prefixes.length);
  t.notOk(
    prefixes.some((a) => prefixes.some((b) => a !== b && b.startsWith(a))),
    'no prefix within another',
  );
  t.equal(formatKeyPrefix({ group: '', plural: 'nodes' }), '/registry/minions/');
  t.end();
});

t.test('flags are unique', (t) => {
  const names = API_SERVER_FLAGS.map((flag) => flag.name);
  t.equal(new Set(names).size, names.length);
  t.end();
});

t.test('parseRequest() reads verb, namespace, name and subresource', (t) => {
  const routes = new RouteTable();
  const cases = [
    ['GET', '/api/v1/namespaces/a/pods', { verb: 'list', plural: 'pods', namespace: 'a', name: '' }],
    ['GET', '/api/v1/pods?watch=1', { verb: 'watch', namespace: '', name: '' }],
    ['GET', '/api/v1/namespaces/a/pods/p', { verb: 'get', namespace: 'a', name: 'p', subresource: '' }],
    ['GET', '/api/v1/namespaces/a', { verb: 'get', plural: 'namespaces', namespace: 'a', name: 'a' }],
    ['PUT', '/api/v1/namespaces/a/finalize', { plural: 'namespaces', name: 'a', subresource: 'finalize' }],
    ['GET', '/api/v1/namespaces/a/status', { plural: 'namespaces', name: 'a', subresource: 'status' }],
    [
      'GET',
      '/api/v1/namespaces/a/services/https:s:1/proxy/x/y?q=1',
      { name: 'https:s:1', subresource: 'proxy', tail: 'x/y' },
    ],
    [
      'DELETE',
      '/apis/apps/v1/namespaces/a/deployments',
      { verb: 'deletecollection', group: 'apps', version: 'v1' },
    ],
    ['GET', '/api/v1/nodes?watch=true&fieldSelector=metadata.name%3Dn', { verb: 'watch', name: 'n' }],
    ['GET', '/apis/apps/v1', { kind: 'path', path: '/apis/apps/v1' }],
    ['GET', '/readyz?verbose', { kind: 'path', verb: 'get', path: '/readyz' }],
  ] as const;
  for (const [method, url, expected] of cases)
    t.match(parseRequest(method, url, routes), expected, `${method} ${url}`);
  t.end();
});

t.test('parseAccept() orders what the client takes', (t) => {
  t.same(parseAccept('application/json;as=Table;v=v1;g=meta.k8s.io,application/json'), [
    { format: 'json', as: 'Table' },
    { format: 'json', as: 'object' },
  ]);
  t.same(parseAccept('application/vnd.kubernetes.protobuf,application/json'), [
    { format: 'json', as: 'object' },
  ]);
  t.same(
    parseAccept('application/yaml;q=0.5,application/json;q=0.9').map((form) => form.format),
    ['json', 'yaml'],
  );
  t.same(parseAccept('application/vnd.kubernetes.protobuf'), []);
  t.match(parseAccept('application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'), [
    { discovery: 'v2' },
  ]);
  t.end();
});

t.test('events and autoscalers are one object in two versions', (t) => {
  const row = (group: string, version: string, plural: string) =>
    RESOURCES.find((item) => item.group === group && item.version === version && item.plural === plural)!;
  const events = row('events.k8s.io', 'v1', 'events');
  const served = {
    kind: 'Event',
    apiVersion: 'events.k8s.io/v1',
    metadata: { name: 'e' },
    note: 'n',
    regarding: { name: 'p' },
    reportingController: 'c',
  };
  const stored = convertIn(events)!(served);
  t.match(stored, { apiVersion: 'v1', message: 'n', involvedObject: { name: 'p' }, reportingComponent: 'c' });
  t.same(convertOut(events)!(stored), served);
  const scalers = row('autoscaling', 'v1', 'horizontalpodautoscalers');
  t.equal(storedRowOf(scalers).version, 'v2');
  const scaler = {
    kind: 'HorizontalPodAutoscaler',
    apiVersion: 'autoscaling/v1',
    metadata: { name: 'h' },
    spec: { maxReplicas: 3, targetCPUUtilizationPercentage: 50 },
    status: { currentReplicas: 1, currentCPUUtilizationPercentage: 10 },
  };
  t.match(convertIn(scalers)!(scaler), {
    spec: { metrics: [{ resource: { target: { averageUtilization: 50 } } }] },
  });
  t.same(convertOut(scalers)!(convertIn(scalers)!(scaler)), scaler);
  t.end();
});

t.test('qosClassOf() follows requests and limits', (t) => {
  const pod = (resources: object) => ({ spec: { containers: [{ name: 'c', resources }] } });
  const both = { cpu: '1', memory: '1Gi' };
  t.equal(qosClassOf(pod({})), 'BestEffort');
  t.equal(qosClassOf(pod({ requests: { cpu: '10m' } })), 'Burstable');
  t.equal(qosClassOf(pod({ limits: both })), 'Guaranteed');
  t.equal(qosClassOf(pod({ limits: both, requests: { cpu: '500m', memory: '1Gi' } })), 'Burstable');
  t.end();
});
