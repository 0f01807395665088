import t, { type Test } from 'tap';
import { apply, eventually, getPods, kubectl, kubectlText, readyNodes, readyPods } from '../hosts/cluster.ts';
import { createAdministrator, formatClusterFile } from './administrator.ts';
import { machineObstacle, readTraces, resetAll, runTkadm } from './cluster.ts';
import { bootMachines, type Machine } from './machine.ts';
import { PAYLOAD, TEST_IMAGE } from './payload.ts';
import {
  CONFINED,
  DENIED,
  formatConfinedPod,
  HINDRANCES,
  loadProfile,
  PROFILE,
  SHOW_PROFILE,
  waitForLog,
  waitForMessage,
} from './security.ts';
import {
  BUSY_LIMIT,
  CLUSTER_CONFIG,
  expectAnswers,
  HOG,
  measureCores,
  POD_PIDS_LIMIT,
  podCgroup,
  readObjects,
  SHORT_WORKLOAD,
  WORKLOAD,
  waitForEnd,
} from './workload.ts';

/** Emulated machines are slow, and a busy computer makes them slower. */
const TIMEOUT_MS = 2_400_000;
t.setTimeout(TIMEOUT_MS);

const SYSTEM_PODS = ['-n', 'kube-system'];
const SERVICES = ['tkadm-runtime', 'tkadm-agent'] as const;
/** Only what a cluster needs to stand, to come back after a power cut and to go. */
const IS_SHORT = process.env['TKADM_TEST_VM'] === 'short';
const LONG = { skip: IS_SHORT && 'npm run test:vm' };
const APPLY_TIMEOUT_MS = 1_500_000;
/** Longest wait for pods, in the emulator. */
const READY = { timeoutMs: 300_000 };

t.test(
  'two machines with systemd and cgroup v2',
  { skip: machineObstacle(), timeout: TIMEOUT_MS },
  async (t) => {
    const startedAt = performance.now();
    const note = (text: string) =>
      t.comment(`${((performance.now() - startedAt) / 1000).toFixed(0)} s: ${text}`);
    const lab = await bootMachines({
      machines: [
        { name: 'one', memoryMiB: 2048, processors: 2, security: 'apparmor' },
        { name: 'two', memoryMiB: 1280, processors: 1, security: 'apparmor' },
      ],
      log: note,
    });
    t.teardown(() => lab.close());
    note('the machines run');
    const [one, two] = lab.machines as [Machine, Machine];
    await two.shell(HINDRANCES);
    const before = await Promise.all(lab.machines.map(readTraces));
    const administrator = await createAdministrator(lab.directory, lab.enter);
    const addresses = lab.machines.map(({ address }) => address);
    const file = await administrator.write(
      'cluster.yaml',
      formatClusterFile({ ...lab, user: 'root', addresses, documents: CLUSTER_CONFIG }),
    );

    await t.test('tkadm apply makes a cluster of both', { bail: true }, async (t) => {
      t.equal((await one.shell('stat -f -c %T /sys/fs/cgroup')).trim(), 'cgroup2fs');
      t.equal((await one.shell('cat /proc/1/comm')).trim(), 'systemd');
      t.ok(before[1]?.includes('swap /swapfile 5'));
      const { exitCode, all, stdout, seconds } = await administrator.tkadm(
        ['apply', '-f', file],
        APPLY_TIMEOUT_MS,
      );
      t.equal(exitCode, 0, all);
      note(`apply took ${seconds.toFixed(0)} s`);
      t.match(stdout, new RegExp(`^${one.address} +one +initialized$`, 'm'));
      t.match(stdout, new RegExp(`^${two.address} +two +joined$`, 'm'));
      t.same(await readyNodes(administrator), ['one', 'two']);
      await readyPods(administrator, SYSTEM_PODS, { count: 6, ...READY });
    });

    await t.test('what stood in the way was put right', async (t) => {
      t.notMatch(await two.shell('cat /proc/swaps'), /swapfile/);
      t.match(await two.shell('cat /proc/modules'), /^veth /m);
    });

    await t.test('the services are units of systemd', LONG, async (t) => {
      for (const machine of lab.machines) {
        t.equal(await machine.shell(`systemctl is-active ${SERVICES.join(' ')}`), 'active\nactive\n');
        t.equal(await machine.shell(`systemctl is-enabled ${SERVICES.join(' ')}`), 'enabled\nenabled\n');
        const units = SERVICES.map((name) => `${name}.service`).join(' ');
        const verified = await machine.exec(['sh', '-c', `systemd-analyze verify ${units}`]);
        t.equal(verified.stderr, '', 'systemd has nothing to say about the units');
        t.equal((await machine.shell('systemctl is-system-running || true')).trim(), 'running', machine.name);
      }
    });

    await t.test('a workload on both machines answers', { bail: true }, async (t) => {
      const load = (machine: Machine) => runTkadm(machine, ['image', 'load', '-i', PAYLOAD.image]);
      for (const { exitCode, all } of await Promise.all(lab.machines.map(load))) t.equal(exitCode, 0, all);
      await apply(administrator, IS_SHORT ? SHORT_WORKLOAD : WORKLOAD);
      await readyPods(administrator, [], { count: IS_SHORT ? 3 : 4, ...READY });
      await expectAllAnswers(t, 'after the start');
      note('the workload answers');
    });

    await t.test(
      "pods with the machine's resolver do not get the stub of systemd-resolved",
      LONG,
      async (t) => {
        t.match(await one.shell('cat /etc/resolv.conf'), /^nameserver 127\.0\.0\.53$/m);
        const servers = await one.shell('grep -h nameserver /var/lib/tkadm/sandboxes/*/resolv.conf');
        t.match(servers, /10\.78\.0\.1$/m);
        t.notMatch(servers, /127\./);
      },
    );

    await t.test('limits of a pod are in its cgroups', LONG, async (t) => {
      const cgroup = await podCgroup(administrator, 'busy');
      const read = async (path: string) => (await two.shell(`cat ${path}`)).trim();
      t.equal(await read(`${cgroup}/memory.max`), String(BUSY_LIMIT.memoryBytes));
      t.equal(await read(`${cgroup}/cpu.max`), '20000 100000');
      t.equal(await read(`${cgroup}/pids.max`), String(POD_PIDS_LIMIT));
      const [container] = (await getPods(administrator)).filter((pod) => pod.metadata.name === 'busy');
      const id = container?.status.containerStatuses?.[0]?.containerID?.replace(/^.*\/\//, '');
      t.equal(await read(`${cgroup}/${id}/memory.max`), String(BUSY_LIMIT.memoryBytes));
      t.equal(await read(`${cgroup}/${id}/cpu.max`), '20000 100000');
      t.match(cgroup, /kubepods\/pod/, 'a guaranteed pod lies at the top');
      t.match(await podCgroup(administrator, 'plain'), /kubepods\/besteffort\/pod/);
      for (const qosClass of ['besteffort', 'burstable']) {
        t.match(await two.shell(`ls /sys/fs/cgroup/kubepods/${qosClass}`), /^pod/m, qosClass);
      }
    });

    await t.test('a busy loop gets the share of a core that it may have', LONG, async (t) => {
      // systemd must not take the controllers away that it did not turn on itself.
      await two.shell('systemctl daemon-reload; systemd-run --quiet --wait -p MemoryMax=64M true');
      const cores = await measureCores(two, await podCgroup(administrator, 'busy'));
      t.ok(Math.abs(cores - BUSY_LIMIT.cores) < BUSY_LIMIT.cores / 4, `it used ${cores.toFixed(3)} cores`);
      note(`a busy loop limited to ${BUSY_LIMIT.cpu} used ${cores.toFixed(3)} cores`);
      await kubectlText(administrator, ['delete', 'pod', 'busy', '--wait=false']);
    });

    await t.test('a container that takes too much memory is OOMKilled', LONG, async (t) => {
      await apply(administrator, HOG);
      t.match(await waitForEnd(administrator, 'hog'), { reason: 'OOMKilled', exitCode: 137 });
      await kubectlText(administrator, ['delete', 'pod', 'hog', '--wait=false']);
    });

    await t.test("a container cannot open the machine's devices", LONG, async (t) => {
      const run = (script: string) => kubectl(administrator, ['exec', 'plain', '--', 'sh', '-c', script]);
      const kernelLog = await run('busybox mknod /tmp/log c 1 11 && cat < /tmp/log');
      t.match(kernelLog.all, /can't open \/tmp\/log: Operation not permitted/);
      const disk = await run('busybox mknod /tmp/disk b 254 0 && head -c 512 < /tmp/disk');
      t.match(disk.all, /can't open \/tmp\/disk: Operation not permitted/);
      const allowed = await run('echo x > /dev/null && head -c 4 /dev/zero | wc -c');
      t.equal(allowed.stdout.trim(), '4', allowed.all);
    });

    await t.test('AppArmor confines what names a profile that the kernel has', LONG, async (t) => {
      await loadProfile(two);
      const options = ['--rm', '--network=none', '--security-opt', `apparmor=${PROFILE}`];
      const ran = await runTkadm(two, ['ctr', 'run', ...options, TEST_IMAGE, 'sh', '-c', SHOW_PROFILE]);
      t.equal(ran.stdout, CONFINED, ran.all);
      t.match(ran.stderr, DENIED);
      const pods = [formatConfinedPod('confined', TEST_IMAGE, PROFILE)];
      await apply(
        administrator,
        [...pods, formatConfinedPod('unconfined', TEST_IMAGE, 'absent')].join('---\n'),
      );
      const log = await waitForLog(administrator, 'confined', DENIED);
      t.ok(log.includes(CONFINED.trim()), log);
      const inside = await kubectl(administrator, ['exec', 'confined', '--', 'sh', '-c', SHOW_PROFILE]);
      t.equal(inside.stdout, CONFINED, 'a process that is added later is confined as well');
      await waitForMessage(administrator, 'unconfined', /apparmor.* "absent"/i);
      await kubectlText(administrator, ['delete', 'pod', 'confined', 'unconfined']);
      note('AppArmor was tried');
    });

    await t.test('containers outlive a restart and a death of the services', LONG, async (t) => {
      const containers = await containerIds();
      for (const service of SERVICES) {
        const mainPid = `systemctl show -p MainPID --value ${service}`;
        const pid = (await two.shell(mainPid)).trim();
        await two.shell(`kill -9 ${pid}`);
        await eventually(`another process of ${service}`, 60_000, async () => {
          const now = (await two.shell(mainPid)).trim();
          return now !== '0' && now !== pid;
        });
      }
      await two.shell(`systemctl restart ${SERVICES.join(' ')}`);
      // One for each container and one for each sandbox, out of systemd's sight.
      const monitors = Number(await two.shell('wc -l < /sys/fs/cgroup/tkadm/monitors/cgroup.procs'));
      t.ok(monitors > containers.length, `${monitors} monitors in their own cgroup`);
      const probe = async () => {
        const { stdout } = await kubectl(administrator, ['exec', 'plain', '--', 'echo', 'alive']);
        return stdout === 'alive\n';
      };
      await eventually('exec through the restarted services', READY.timeoutMs, probe);
      await readyPods(administrator, ['-l', 'app=web'], { count: 2, ...READY });
      t.same(await containerIds(), containers, 'the same containers');
      note('services were restarted');
    });

    await t.test('the cluster comes back by itself after a power cut', { bail: true }, async (t) => {
      const objects = await readObjects(administrator);
      const boots = await Promise.all(lab.machines.map((machine) => machine.bootId()));
      const restarted = IS_SHORT ? [one] : lab.machines;
      await one.resetPower();
      if (!IS_SHORT) await two.exec(['systemctl', 'reboot']);
      await Promise.all(restarted.map((machine, index) => machine.waitForBoot(boots[index])));
      note('the machines were started again');
      const nodes = restarted.map(({ name }) => name);
      await eventually('new containers', READY.timeoutMs, async () => {
        const pods = (await getPods(administrator, ['-A'])).filter(({ spec }) =>
          nodes.includes(spec.nodeName),
        );
        return (
          pods.length > 0 && pods.every((pod) => (pod.status.containerStatuses?.[0]?.restartCount ?? 0) > 0)
        );
      });
      await readyPods(administrator, [], { count: 3, ...READY });
      await readyPods(administrator, SYSTEM_PODS, { count: 6, ...READY });
      t.same(await readyNodes(administrator), ['one', 'two']);
      t.same(await readObjects(administrator), objects, 'the same objects');
      await expectAllAnswers(t, 'after the reboot');
      note('the workload answers again');
    });

    await t.test('tkadm reset takes everything back', async (t) => {
      await resetAll(t, lab.machines, before);
    });

    await t.test('tkadm init works right after, from the package', LONG, async (t) => {
      const result = await runTkadm(one, ['init', '--fix'], [PAYLOAD.node, PAYLOAD.tkadm]);
      t.equal(result.exitCode, 0, result.all);
      note(`init took ${result.seconds.toFixed(0)} s`);
    });

    /** The web server by the address of each pod, by the service's address, and by its name from inside a pod. */
    async function expectAllAnswers(t: Test, when: string): Promise<void> {
      const pods = await expectAnswers(administrator, lab.machines);
      t.same(
        pods.map(({ node }) => node),
        ['one', 'two'],
      );
      const names = pods.map(({ name }) => name);
      const command = ['exec', 'plain', '--', 'wget', '-q', '-O-', 'http://web.default.svc.cluster.local/'];
      await eventually(`an answer by name ${when}`, READY.timeoutMs, async () =>
        names.includes((await kubectlText(administrator, command)).trim()),
      );
      t.pass(`pods and service answer ${when}`);
    }

    async function containerIds(): Promise<readonly string[]> {
      const pods = await getPods(administrator, ['-A']);
      return pods
        .filter((pod) => pod.spec.nodeName === 'two' && pod.metadata.deletionTimestamp === undefined)
        .flatMap((pod) => pod.status.containerStatuses?.map(({ containerID }) => containerID ?? '') ?? [])
        .sort();
    }
  },
);
