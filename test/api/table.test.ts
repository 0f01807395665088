import t from 'tap';
import { formatAge } from '../../runtime/api/printers/format.ts';
import { RESOURCES } from '../../runtime/api/resources.ts';
import type { JsonObject } from '../../runtime/api/schema/types.ts';
import { buildTable } from '../../runtime/api/table.ts';

const NOW = new Date('2026-01-01T01:00:00Z');

/** Cells of one object by their column. */
function cellsOf(group: string, kind: string, object: JsonObject): Record<string, unknown> {
  const table = buildTable({ group, kind }, [object], { now: NOW }) as unknown as {
    readonly columnDefinitions: readonly { readonly name: string }[];
    readonly rows: readonly { readonly cells: readonly unknown[] }[];
  };
  const names = table.columnDefinitions.map(({ name }) => name);
  return Object.fromEntries(names.map((name, index) => [name, table.rows[0]?.cells[index]]));
}

t.test('buildTable() has a cell for each column of all resources', (t) => {
  for (const row of RESOURCES) {
    const object = { apiVersion: 'v1', kind: row.kind, metadata: { name: 'x' } };
    const table = buildTable(row, [object], { now: NOW }) as unknown as {
      readonly columnDefinitions: readonly unknown[];
      readonly rows: readonly { readonly cells: readonly unknown[] }[];
    };
    t.equal(table.rows[0]?.cells.length, table.columnDefinitions.length, `${row.group}/${row.kind}`);
  }
  t.end();
});

const AGES = [
  [5, '5s'],
  [119, '119s'],
  [120, '2m'],
  [185, '3m5s'],
  [600, '10m'],
  [3 * 3600, '3h'],
  [3 * 3600 + 120, '3h2m'],
  [47 * 3600, '47h'],
  [50 * 3600, '2d2h'],
  [10 * 86400, '10d'],
  [365 * 2 * 86400, '2y'],
] as const;

t.test('formatAge() shortens time spans as kubectl does', (t) => {
  for (const [seconds, text] of AGES) t.equal(formatAge(seconds * 1000), text);
  t.end();
});

const RUNNING = { name: 'c', ready: true, restartCount: 0, state: { running: {} } };
const meta = { name: 'p', creationTimestamp: '2026-01-01T00:30:00Z' };
const spec = { containers: [{ name: 'c' }], nodeName: 'n1' };
const waiting = (reason: string): JsonObject => ({
  ...RUNNING,
  ready: false,
  state: { waiting: { reason } },
});
const ended = (exitCode: number, reason?: string): JsonObject => ({
  ...RUNNING,
  ready: false,
  state: { terminated: { exitCode, reason } },
});

const PODS: readonly (readonly [string, JsonObject, JsonObject])[] = [
  [
    'running',
    { metadata: meta, spec, status: { phase: 'Running', podIP: '10.0.0.1', containerStatuses: [RUNNING] } },
    { Ready: '1/1', Status: 'Running', Restarts: '0', Age: '30m', IP: '10.0.0.1', Node: 'n1' },
  ],
  [
    'pending',
    { metadata: meta, spec, status: { phase: 'Pending' } },
    { Ready: '0/1', Status: 'Pending', IP: '<none>' },
  ],
  [
    'restarted',
    {
      metadata: meta,
      spec,
      status: {
        phase: 'Running',
        containerStatuses: [
          {
            ...waiting('CrashLoopBackOff'),
            restartCount: 3,
            lastState: { terminated: { finishedAt: '2026-01-01T00:55:00Z' } },
          },
        ],
      },
    },
    { Status: 'CrashLoopBackOff', Restarts: '3 (5m ago)' },
  ],
  [
    'completed',
    { metadata: meta, spec, status: { phase: 'Succeeded', containerStatuses: [ended(0, 'Completed')] } },
    { Status: 'Completed' },
  ],
  [
    'exit code',
    { metadata: meta, spec, status: { phase: 'Failed', containerStatuses: [ended(3)] } },
    { Status: 'ExitCode:3' },
  ],
  [
    'terminating',
    {
      metadata: { ...meta, deletionTimestamp: '2026-01-01T00:59:00Z' },
      spec,
      status: { phase: 'Running', containerStatuses: [RUNNING] },
    },
    { Status: 'Terminating' },
  ],
  [
    'initializing',
    {
      metadata: meta,
      spec: { ...spec, initContainers: [{ name: 'a' }, { name: 'b' }] },
      status: {
        phase: 'Pending',
        initContainerStatuses: [
          { ...ended(0), name: 'a' },
          { ...RUNNING, name: 'b' },
        ],
      },
    },
    { Status: 'Init:1/2' },
  ],
  [
    'init failed',
    {
      metadata: meta,
      spec: { ...spec, initContainers: [{ name: 'a' }] },
      status: { phase: 'Pending', initContainerStatuses: [{ ...waiting('CrashLoopBackOff'), name: 'a' }] },
    },
    { Status: 'Init:CrashLoopBackOff' },
  ],
];

t.test('buildTable() words the status of pods', (t) => {
  for (const [title, object, expected] of PODS) t.match(cellsOf('', 'Pod', object), expected, title);
  t.end();
});

const KINDS: readonly (readonly [string, string, JsonObject, JsonObject])[] = [
  [
    '',
    'Node',
    {
      metadata: { name: 'n', labels: { 'node-role.kubernetes.io/control-plane': '' } },
      spec: { unschedulable: true },
      status: {
        conditions: [{ type: 'Ready', status: 'True' }],
        addresses: [{ type: 'InternalIP', address: '1.2.3.4' }],
        nodeInfo: { kubeletVersion: 'v1.36.2', osImage: 'Linux' },
      },
    },
    {
      Status: 'Ready,SchedulingDisabled',
      Roles: 'control-plane',
      Version: 'v1.36.2',
      'Internal-IP': '1.2.3.4',
      'External-IP': '<none>',
      'Container-Runtime': '<unknown>',
    },
  ],
  [
    '',
    'Service',
    {
      metadata: { name: 's' },
      spec: {
        type: 'NodePort',
        clusterIP: '10.96.0.9',
        ports: [{ port: 80, nodePort: 30080, protocol: 'TCP' }],
        selector: { a: 'b' },
      },
    },
    {
      Type: 'NodePort',
      'Cluster-IP': '10.96.0.9',
      'External-IP': '<none>',
      'Port(s)': '80:30080/TCP',
      Selector: 'a=b',
    },
  ],
  [
    'apps',
    'Deployment',
    {
      metadata: { name: 'd' },
      spec: { replicas: 3 },
      status: { readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 },
    },
    { Ready: '1/3', 'Up-to-date': 2, Available: 1 },
  ],
  [
    'certificates.k8s.io',
    'CertificateSigningRequest',
    {
      metadata: { name: 'c' },
      spec: { username: 'u', signerName: 's/x' },
      status: { conditions: [{ type: 'Approved' }], certificate: 'eA==' },
    },
    { Requestor: 'u', Condition: 'Approved,Issued', RequestedDuration: '<none>' },
  ],
  [
    '',
    'Event',
    {
      apiVersion: 'v1',
      metadata: { name: 'e' },
      lastTimestamp: '2026-01-01T00:59:00Z',
      reason: 'Pulled',
      type: 'Normal',
      involvedObject: { kind: 'Pod', name: 'p' },
      source: { component: 'kubelet', host: 'n' },
    },
    { 'Last Seen': '60s', Object: 'pod/p', Source: 'kubelet, n', Count: 1 },
  ],
  [
    'batch',
    'Job',
    {
      metadata: { name: 'j' },
      spec: { completions: 2 },
      status: {
        succeeded: 2,
        startTime: '2026-01-01T00:00:00Z',
        completionTime: '2026-01-01T00:00:30Z',
        conditions: [{ type: 'Complete', status: 'True' }],
      },
    },
    { Status: 'Complete', Completions: '2/2', Duration: '30s' },
  ],
];

t.test('buildTable() shows what kubectl shows', (t) => {
  for (const [group, kind, object, expected] of KINDS) t.match(cellsOf(group, kind, object), expected, kind);
  t.end();
});

t.test('buildTable() prints the columns of custom resources by their JSON paths', (t) => {
  const object = {
    metadata: { name: 'w', creationTimestamp: '2026-01-01T00:59:50Z' },
    spec: { size: 3 },
    status: {
      conditions: [
        { type: 'Other', status: 'False' },
        { type: 'Ready', status: 'True' },
      ],
    },
  };
  const table = buildTable({ group: 'x.io', kind: 'W' }, [object], {
    now: NOW,
    includeObject: 'None',
    printerColumns: [
      { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
      { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
      { name: 'None', type: 'string', jsonPath: '.spec.none' },
    ],
  });
  t.strictSame(table['rows'], [{ cells: ['w', 3, 'True', '10s', null] }]);
  t.end();
});
