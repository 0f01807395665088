import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import t from 'tap';
import {
  apply,
  type CommandHost,
  eventually,
  getPods,
  kubectlText,
  readyNodes,
  readyPods,
} from '../hosts/cluster.ts';
import { administratorOf, readTraces, resetAll, runTkadm } from '../vm/cluster.ts';
import { prepareSystemDisk } from '../vm/disk.ts';
import { chooseAccelerator } from '../vm/machine.ts';
import { PAYLOAD } from '../vm/payload.ts';
import { CLUSTER_CONFIG, expectAnswers, readObjects, WORKLOAD } from '../vm/workload.ts';
import { prepareBox } from './box.ts';
import { bringUp } from './machines.ts';

/** Emulated machines are slow, and three on one computer slower still. */
const TIMEOUT_MS = 5_400_000;
t.setTimeout(TIMEOUT_MS);

/** Two emulated machines get the bundle from a third, encrypted. */
const JOIN_TIMEOUT_MS = 1_500_000;
const READY = { timeoutMs: 600_000 };
const SYSTEM_PODS = ['-n', 'kube-system'];
const NODES = ['one', 'three', 'two'];
const PROGRAMS = ['/usr/bin/vagrant', '/usr/sbin/libvirtd', '/usr/bin/virsh', '/usr/bin/grub-mkimage'];

function obstacle(): string | false {
  if (process.env['TKADM_TEST_VAGRANT'] !== '1') return 'takes half an hour: npm run test:vagrant';
  const missing = PROGRAMS.find((path) => !existsSync(path));
  return missing !== undefined && `needs ${missing}`;
}

t.test('three machines that Vagrant brings up', { skip: obstacle(), timeout: TIMEOUT_MS }, async (t) => {
  const startedAt = performance.now();
  const note = (text: string) =>
    t.comment(`${((performance.now() - startedAt) / 1000).toFixed(0)} s: ${text}`);
  const box = await prepareBox(note);
  const lab = await bringUp({
    box,
    accelerator: await chooseAccelerator(await prepareSystemDisk(note)),
    log: note,
  });
  t.teardown(() => lab.close());
  note(lab.versions);
  const [one] = lab.machines;
  if (one === undefined) throw new Error('Vagrant has no machines');
  const before = await Promise.all(lab.machines.map(readTraces));
  const workers = lab.machines.slice(1);
  let administrator: CommandHost;

  await t.test('tkadm init', { bail: true }, async (t) => {
    t.equal((await one.shell('stat -f -c %T /sys/fs/cgroup')).trim(), 'cgroup2fs');
    await one.exec(['sh', '-c', 'cat > /root/cluster.yaml'], { input: CLUSTER_CONFIG });
    const result = await runTkadm(one, ['init', '--fix', '--config', '/root/cluster.yaml']);
    t.equal(result.exitCode, 0, result.all);
    note(`init took ${result.seconds.toFixed(0)} s`);
    const server = `${one.address}:6443`;
    administrator = await administratorOf(one, { directory: lab.directory, server });
    t.same(await readyNodes(administrator), ['one']);
  });

  await t.test('tkadm join of both workers over SSH, by a user with sudo', { bail: true }, async (t) => {
    await one.exec(['sh', '-c', 'umask 077; cat > /root/.ssh/id_ed25519'], {
      input: await readFile(box.privateKey, 'utf8'),
    });
    const targets = workers.map(({ address }) => `vagrant@${address}`);
    const result = await runTkadm(
      one,
      ['join', ...targets, '--ssh-host-keys', 'accept-new'],
      JOIN_TIMEOUT_MS,
    );
    t.equal(result.exitCode, 0, result.all);
    note(`join took ${result.seconds.toFixed(0)} s`);
    await eventually('three nodes', READY.timeoutMs, async () => {
      const ready = await readyNodes(administrator);
      return [...ready].sort().join() === NODES.join();
    });
  });

  await t.test('a workload on all machines answers', { bail: true }, async (t) => {
    for (const machine of lab.machines) {
      const loaded = await runTkadm(machine, ['image', 'load', '-i', PAYLOAD.image]);
      t.equal(loaded.exitCode, 0, loaded.all);
    }
    await apply(administrator, WORKLOAD);
    await readyPods(administrator, [], { count: 5, ...READY });
    await expectAnswers(administrator, lab.machines);
    note('the workload answers');
    await kubectlText(administrator, ['delete', 'pod', 'busy', '--wait=false']);
  });

  await t.test(
    'the cluster comes back by itself when every machine is restarted',
    { bail: true },
    async (t) => {
      const absent = async () =>
        (await getPods(administrator)).every(({ metadata }) => metadata.name !== 'busy');
      await eventually('the end of the pod "busy"', READY.timeoutMs, absent);
      const objects = await readObjects(administrator);
      await lab.reload();
      note('the machines were started again');
      await eventually('new containers everywhere', READY.timeoutMs, async () => {
        const pods = await getPods(administrator, ['-A']).catch(() => []);
        const restarts = pods.map(({ status }) => status.containerStatuses?.[0]?.restartCount ?? 0);
        return restarts.length > 0 && restarts.every((count) => count > 0);
      });
      await readyPods(administrator, [], { count: 4, ...READY });
      await readyPods(administrator, SYSTEM_PODS, { count: 7, ...READY });
      t.same([...(await readyNodes(administrator))].sort(), NODES);
      t.same(await readObjects(administrator), objects, 'the same objects');
      await expectAnswers(administrator, lab.machines);
      note('the workload answers again');
    },
  );

  await t.test('tkadm reset takes everything back', (t) => resetAll(t, lab.machines, before));
});
