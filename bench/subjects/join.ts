import type { Lab, LabHost } from '../../test/hosts/lab.ts';
import { tkadm, withLab } from '../cluster.ts';
import { type Bench, type Subject, timed } from '../measure.ts';

const BUNDLE = '/var/lib/tkadm/bundle';
/** Reset removes all of /var/lib/tkadm. */
const KEPT = '/root/kept-bundle';
const KUBECONFIG = '/etc/kubernetes/admin.conf';
const MANY = 4;

/** `tkadm join` over SSH from the control plane to machines without Node.js. */
export const joinSubject: Subject = {
  name: 'join',
  rows: [
    {
      key: 'join.cold',
      what: 'join over SSH, nothing on the machine',
      unit: 's',
      bar: 4,
      peers: 'k0sctl 122 for two (published)',
    },
    { key: 'join.cached', what: 'join over SSH, bundle there already', unit: 's', bar: 4 },
    { key: 'join.many', what: `join over SSH, ${MANY} machines at once (bundle sent to each)`, unit: 's' },
  ],
  async run(bench) {
    const workers = Array.from({ length: MANY }, (_, index) => `bench-w${index + 1}`);
    await withLab({ hostNames: ['bench-cp', ...workers], withoutNode: workers }, async (lab) => {
      const [controlPlane, worker] = lab.hosts as [LabHost, LabHost, ...LabHost[]];
      await tkadm(bench, controlPlane, ['init', '--fix']);
      for (let index = 0; index < Math.max(1, Math.ceil(bench.samples / 2)); index += 1) {
        bench.record('join.cold', await join(bench, controlPlane, [worker]));
        await leave(controlPlane, worker);
        bench.record('join.cached', await join(bench, controlPlane, [worker]));
        await leave(controlPlane, worker);
        await drop(worker);
      }
      await measureMany(bench, lab);
    });
  },
};

async function measureMany(bench: Bench, lab: Lab): Promise<void> {
  const [controlPlane, ...workers] = lab.hosts as [LabHost, ...LabHost[]];
  bench.record('join.many', await join(bench, controlPlane, workers));
}

/** Seconds until the command says that every machine has joined. */
async function join(bench: Bench, from: LabHost, machines: readonly LabHost[]): Promise<number> {
  const addresses = machines.map((machine) => `root@${machine.address}`);
  const { ms } = await timed(() =>
    tkadm(bench, from, ['join', ...addresses, '--ssh-host-keys=accept-new', '--fix']),
  );
  return ms / 1000;
}

/** Takes a machine out of the cluster and resets it, but keeps its bundle. */
async function leave(controlPlane: LabHost, machine: LabHost): Promise<void> {
  const node = `${BUNDLE}/current/rootfs/usr/bin/node`;
  const cli = `${BUNDLE}/current/rootfs/opt/tkadm/cli/tkadm.js`;
  await run(machine, ['sh', '-ec', `rm -rf ${KEPT}; cp -a ${BUNDLE} ${KEPT}`]);
  await run(machine, [node, cli, 'reset', '--force']);
  // Only now: a running agent would register it again.
  await run(controlPlane, ['kubectl', `--kubeconfig=${KUBECONFIG}`, 'delete', 'node', machine.name]);
  await run(machine, ['sh', '-ec', `mkdir -p /var/lib/tkadm; rm -rf ${BUNDLE}; mv ${KEPT} ${BUNDLE}`]);
}

async function drop(machine: LabHost): Promise<void> {
  await run(machine, ['rm', '-rf', BUNDLE]);
}

async function run(machine: LabHost, argv: readonly string[]): Promise<void> {
  const result = await machine.exec(argv, { timeoutMs: 60_000 });
  if (result.exitCode !== 0) throw new Error(`${argv.join(' ')}: ${result.stdout}${result.stderr}`);
}
