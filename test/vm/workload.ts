import { type CommandHost, eventually, getJson, kubectlText } from '../hosts/cluster.ts';
import type { ReachableMachine } from './machine.ts';
import { TEST_IMAGE } from './payload.ts';

/** Of the kubelet's configuration: what `pids.max` of every pod must be. */
export const POD_PIDS_LIMIT = 512;
export const BUSY_LIMIT = { cpu: '200m', cores: 0.2, memory: '64Mi', memoryBytes: 64 << 20 } as const;

/** Configuration of the cluster, documents of `tkadm init --config`. */
export const CLUSTER_CONFIG = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: machines
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: ${POD_PIDS_LIMIT}
`;

/** What ignores SIGTERM would hold up the reboot until systemd loses its patience. */
const SERVE = 'hostname > /tmp/index.html; trap exit TERM; busybox httpd -f -p 8080 -h /tmp & wait';

interface PodOptions {
  readonly name: string;
  readonly command: string;
  readonly resources?: string;
  readonly restartPolicy?: string;
}

function formatPod({ name, command, resources = '{}', restartPolicy = 'Always' }: PodOptions): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  nodeName: two
  restartPolicy: ${restartPolicy}
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: ${TEST_IMAGE}
      command: [sh, -c, ${JSON.stringify(command)}]
      resources: ${resources}
`;
}

/** A web server on every node with a Service, and a pod that does nothing on the second machine. */
export const SHORT_WORKLOAD = [
  `apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
        - name: web
          image: ${TEST_IMAGE}
          command: [sh, -c, ${JSON.stringify(SERVE)}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 3, timeoutSeconds: 20}
          resources: {requests: {cpu: 10m, memory: 16Mi}}
`,
  `apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`,
  formatPod({ name: 'plain', command: 'trap exit TERM; while :; do sleep 1000 & wait; done' }),
].join('---\n');

/** The same, and a pod that is busy: one of each QoS class. */
export const WORKLOAD = [
  SHORT_WORKLOAD,
  formatPod({
    name: 'busy',
    command: 'while :; do :; done',
    resources: `{limits: {cpu: ${BUSY_LIMIT.cpu}, memory: ${BUSY_LIMIT.memory}}}`,
  }),
].join('---\n');

/** Fills more memory than it may have. */
export const HOG = formatPod({
  name: 'hog',
  command: 'exec busybox dd if=/dev/zero of=/dev/null bs=100M count=1',
  resources: '{limits: {memory: 32Mi}}',
  restartPolicy: 'Never',
});

/** Directory of a pod's cgroup, by the class of service that the API server gave it. */
export async function podCgroup(administrator: CommandHost, name: string): Promise<string> {
  interface Pod {
    readonly metadata: { readonly uid: string };
    readonly status: { readonly qosClass: string };
  }
  const { metadata, status } = await getJson<Pod>(administrator, ['pod', name]);
  const middle = status.qosClass === 'Guaranteed' ? '' : `/${status.qosClass.toLowerCase()}`;
  return `/sys/fs/cgroup/kubepods${middle}/pod${metadata.uid}`;
}

/** The cores that a cgroup used over some seconds, by the machine's own clock. */
export async function measureCores(machine: ReachableMachine, cgroup: string): Promise<number> {
  const sample = `awk '/^usage_usec/ { print $2 }' ${cgroup}/cpu.stat; cut -d' ' -f1 /proc/uptime`;
  const text = await machine.shell(`${sample}; sleep 10; ${sample}`);
  const [usage0 = 0, uptime0 = 0, usage1 = 0, uptime1 = 0] = text.trim().split('\n').map(Number);
  return (usage1 - usage0) / 1e6 / (uptime1 - uptime0);
}

/** How the first container of a pod ended. */
export async function waitForEnd(administrator: CommandHost, name: string) {
  interface Pod {
    readonly status: {
      readonly containerStatuses?: readonly {
        readonly state: { readonly terminated?: { readonly reason: string; readonly exitCode: number } };
      }[];
    };
  }
  return eventually(`the end of pod ${name}`, 240_000, async () => {
    const { status } = await getJson<Pod>(administrator, ['pod', name]);
    return status.containerStatuses?.[0]?.state.terminated;
  });
}

interface WebPod {
  readonly spec: { readonly nodeName: string };
  readonly metadata: { readonly name: string };
  readonly status: { readonly podIP?: string };
}

/** Names and addresses of the web server's pods, by node. */
async function webPods(administrator: CommandHost) {
  const { items } = await getJson<{ items: readonly WebPod[] }>(administrator, ['pods', '-l', 'app=web']);
  return items
    .map(({ spec, metadata, status }) => ({ node: spec.nodeName, name: metadata.name, ip: status.podIP }))
    .sort((a, b) => a.node.localeCompare(b.node));
}

/** Asks for a page on a machine until the pod answers that is expected; any of them for a list. */
async function expectAnswer(
  machine: ReachableMachine,
  url: string,
  names: readonly string[],
): Promise<string | undefined> {
  return eventually(
    `an answer of ${names.join(' or ')} at ${url} on ${machine.name}`,
    240_000,
    async () => {
      const { stdout } = await machine.exec(['curl', '-s', '-m', '20', url]);
      return names.includes(stdout.trim()) && stdout.trim();
    },
    async () => (await machine.exec(['curl', '-v', '-m', '20', url])).stderr,
  );
}

/** The cluster's objects that must be the same after a reboot: kind, name and uid. */
export async function readObjects(administrator: CommandHost): Promise<readonly string[]> {
  const kinds = 'nodes,namespaces,deployments,daemonsets,services,configmaps,secrets,serviceaccounts,pods';
  const template = '{range .items[*]}{.kind} {.metadata.name} {.metadata.uid}{"\\n"}{end}';
  const text = await kubectlText(administrator, ['get', kinds, '-A', '-o', `jsonpath=${template}`]);
  // A token of join lives for minutes.
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.includes(' bootstrap-token-'))
    .sort();
}

/** Waits until each machine gets the web server by the address of every pod and by the Service's; returns the pods. */
export async function expectAnswers(administrator: CommandHost, machines: readonly ReachableMachine[]) {
  const pods = await webPods(administrator);
  const names = pods.map(({ name }) => name);
  const field = ['-o', 'jsonpath={.spec.clusterIP}'];
  const address = await kubectlText(administrator, ['get', 'service', 'web', ...field]);
  for (const machine of machines) {
    for (const { name, ip } of pods) await expectAnswer(machine, `http://${ip}:8080/`, [name]);
    await expectAnswer(machine, `http://${address}/`, names);
  }
  return pods;
}
