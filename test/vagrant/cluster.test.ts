import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { writeBusyboxArchive } from '../hosts/busybox-image.ts';
import { apply, eventually, getPods, kubectlText, readyNodes, readyPods } from '../hosts/cluster.ts';
import { createAdministrator, formatClusterFile } from '../vm/administrator.ts';
import { loadImage, readTraces, resetAll } from '../vm/cluster.ts';
import { prepareSystemDisk } from '../vm/disk.ts';
import { chooseAccelerator } from '../vm/machine.ts';
import { TEST_IMAGE } from '../vm/payload.ts';
import { CLUSTER_CONFIG, expectAnswers, readObjects, WORKLOAD } from '../vm/workload.ts';
import { prepareBox } from './box.ts';
import { bringUp, NAMES } from './machines.ts';

/** Emulated machines are slow, and three on one computer slower still. */
const TIMEOUT_MS = 5_400_000;
t.setTimeout(TIMEOUT_MS);

/** Three emulated machines share two cores, and decrypt the bundle. */
const APPLY_TIMEOUT_MS = 1_500_000;
const READY = { timeoutMs: 600_000 };
const SYSTEM_PODS = ['-n', 'kube-system'];
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
  const before = await Promise.all(lab.machines.map(readTraces));
  const administrator = await createAdministrator(lab.directory);
  const addresses = lab.machines.map(({ address }) => address);
  const { privateKey } = box;
  const describeCluster = (hosts: readonly string[]) =>
    formatClusterFile({ privateKey, user: 'vagrant', addresses: hosts, documents: CLUSTER_CONFIG });
  const file = await administrator.write('cluster.yaml', describeCluster(addresses));

  await t.test('tkadm apply makes a cluster of them, as a user with sudo', { bail: true }, async (t) => {
    t.equal((await lab.machines[0]!.shell('stat -f -c %T /sys/fs/cgroup')).trim(), 'cgroup2fs');
    const { exitCode, all, stdout, seconds } = await administrator.tkadm(
      ['apply', '-f', file],
      APPLY_TIMEOUT_MS,
    );
    t.equal(exitCode, 0, all);
    note(`apply took ${seconds.toFixed(0)} s`);
    for (const [index, name] of NAMES.entries())
      t.match(
        stdout,
        new RegExp(`^${addresses[index]} +${name} +${index === 0 ? 'initialized' : 'joined'}$`, 'm'),
      );
    t.same(await readyNodes(administrator), [...NAMES].sort());
  });

  await t.test('a second tkadm apply finds nothing to do', async (t) => {
    const { exitCode, all, stdout, seconds } = await administrator.tkadm(['apply', '-f', file]);
    t.equal(exitCode, 0, all);
    note(`the second apply took ${seconds.toFixed(0)} s`);
    t.equal(stdout.match(/ unchanged$/gm)?.length, NAMES.length, stdout);
  });

  await t.test('a workload on all machines answers', { bail: true }, async (t) => {
    const image = await readImage();
    await Promise.all(lab.machines.map((machine) => loadImage(machine, image)));
    await apply(administrator, WORKLOAD);
    await readyPods(administrator, [], { count: 5, ...READY });
    await expectAnswers(administrator, lab.machines);
    note('the workload answers');
    await kubectlText(administrator, ['delete', 'pod', 'busy', '--wait=false']);
    t.pass('every machine reaches every pod');
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
      t.same(await readyNodes(administrator), [...NAMES].sort());
      t.same(await readObjects(administrator), objects, 'the same objects');
      await expectAnswers(administrator, lab.machines);
      note('the workload answers again');
    },
  );

  await t.test('tkadm apply --prune gives a machine back that left the file', async (t) => {
    await administrator.write('cluster.yaml', describeCluster(addresses.slice(0, -1)));
    const args = ['apply', '-f', file, '--prune', '--yes'];
    const { exitCode, all, stdout, seconds } = await administrator.tkadm(args, APPLY_TIMEOUT_MS);
    t.equal(exitCode, 0, all);
    note(`apply --prune took ${seconds.toFixed(0)} s`);
    t.match(stdout, new RegExp(`^${addresses.at(-1)} +three +removed$`, 'm'));
    t.same(await readyNodes(administrator), ['one', 'two']);
    t.same(await readTraces(lab.machines.at(-1)!), before.at(-1), 'three is as it was');
  });

  await t.test('tkadm reset takes everything back', async (t) => {
    await resetAll(t, lab.machines.slice(0, -1), before);
    note('the machines are as they were');
  });
});

async function readImage(): Promise<Buffer> {
  const directory = await mkdtemp(join(tmpdir(), 'tkadm-test-image-'));
  try {
    return await readFile(await writeBusyboxArchive(directory, TEST_IMAGE));
  } finally {
    await rm(directory, { recursive: true });
  }
}
