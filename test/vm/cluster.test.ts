import { readFile } from 'node:fs/promises';
import t from 'tap';
import { type CommandHost, readyNodes, readyPods } from '../hosts/cluster.ts';
import { administratorOf, machineObstacle, readTraces, runTkadm } from './cluster.ts';
import { bootMachines, type Machine } from './machine.ts';

/** Emulated machines are slow, and a busy computer makes them slower. */
const TIMEOUT_MS = 1_800_000;
t.setTimeout(TIMEOUT_MS);

const SYSTEM_PODS = ['-n', 'kube-system'];
const SERVICES = ['tkadm-runtime', 'tkadm-agent'];

t.test(
  'two machines with systemd and cgroup v2',
  { skip: machineObstacle(), timeout: TIMEOUT_MS },
  async (t) => {
    const lab = await bootMachines({
      machines: [
        { name: 'one', memoryMiB: 2048, processors: 2 },
        { name: 'two', memoryMiB: 1280, processors: 1 },
      ],
      log: (text) => t.comment(text),
    });
    t.teardown(() => lab.close());
    const [one, two] = lab.machines as [Machine, Machine];
    const before = await Promise.all(lab.machines.map(readTraces));
    let administrator: CommandHost;

    await t.test('tkadm init', { bail: true }, async (t) => {
      t.equal((await one.shell('stat -f -c %T /sys/fs/cgroup')).trim(), 'cgroup2fs');
      t.equal((await one.shell('cat /proc/1/comm')).trim(), 'systemd');
      const result = await runTkadm(one, ['init', '--fix']);
      t.equal(result.exitCode, 0, result.all);
      t.comment(`init took ${result.seconds.toFixed(0)} s`);
      administrator = await administratorOf(one, lab.directory);
      t.same(await readyNodes(administrator), ['one']);
    });

    await t.test('tkadm join of the other machine over SSH', { bail: true }, async (t) => {
      await one.exec(['sh', '-c', 'umask 077; cat > /root/.ssh/id_ed25519'], {
        input: await readFile(lab.privateKey, 'utf8'),
      });
      const result = await runTkadm(one, ['join', `root@${two.address}`, '--ssh-host-keys', 'accept-new']);
      t.equal(result.exitCode, 0, result.all);
      t.comment(`join took ${result.seconds.toFixed(0)} s`);
      t.same(await readyNodes(administrator), ['one', 'two']);
      await readyPods(administrator, SYSTEM_PODS, { count: 6, timeoutMs: 300_000 });
    });

    await t.test('the services are units of systemd', async (t) => {
      for (const machine of lab.machines) {
        t.equal(await machine.shell(`systemctl is-active ${SERVICES.join(' ')}`), 'active\nactive\n');
        t.equal(await machine.shell(`systemctl is-enabled ${SERVICES.join(' ')}`), 'enabled\nenabled\n');
        t.equal((await machine.shell('systemctl is-system-running || true')).trim(), 'running', machine.name);
      }
    });

    await t.test('tkadm reset takes everything back, and init works again', async (t) => {
      for (const [index, machine] of lab.machines.entries()) {
        const result = await runTkadm(machine, ['reset', '-f']);
        t.equal(result.exitCode, 0, result.all);
        t.comment(`reset of ${machine.name} took ${result.seconds.toFixed(0)} s`);
        t.same(await readTraces(machine), before[index], `${machine.name} is as it was`);
      }
    });
  },
);
