import { execa } from 'execa';
import t from 'tap';
import { eventually, getPods, initCluster, labObstacle, readyNodes, tkadm } from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** Debian's OpenRC with its libraries. The machine that runs the tests must not have it, so it is unpacked on the host. */
const PACKAGES = ['openrc', 'librc1', 'libeinfo1'] as const;
const SERVICES = ['tkadm-runtime', 'tkadm-agent'] as const;
const WAIT_MS = 60_000;

/** What the package's scripts and an installation by OpenRC's users have made. */
const INSTALL = `for deb in "$1"/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C /; done
rm -f /etc/init.d/*
touch /etc/insserv.conf
mkdir -p /etc/rc0.d /etc/rcS.d /etc/runlevels/sysinit /etc/runlevels/boot /etc/runlevels/default
openrc default`;

const packages = t.testdir();

/** Why it cannot be run here, or false. */
async function obstacle(): Promise<string | false> {
  const download = () => execa('apt-get', ['download', ...PACKAGES], { cwd: packages, reject: false });
  return (
    labObstacle() || ((await download()).exitCode !== 0 && `needs apt-get download ${PACKAGES.join(' ')}`)
  );
}

t.test('a node whose init system is OpenRC', { skip: await obstacle(), timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp'] });
  t.teardown(() => lab.close());
  const [host] = lab.hosts as [LabHost];
  const shell = async (script: string, ...args: readonly string[]) => {
    const { stdout, stderr, exitCode } = await host.exec(['sh', '-ec', script, 'sh', ...args]);
    if (exitCode !== 0) throw new Error(`${script}: exit code ${exitCode}: ${stdout}${stderr}`);
    return stdout.trim();
  };
  const pids = async (): Promise<readonly (number | null)[]> => {
    const { stdout } = await tkadm(host, ['service', 'status', '-o', 'json']);
    const { initSystem, services } = JSON.parse(stdout);
    t.equal(initSystem, 'openrc');
    return services.map(({ pid }: { readonly pid?: number }) => pid ?? null);
  };
  const isAnswered = async () => {
    const [node] = await readyNodes(host);
    const pods = await getPods(host, ['-A']);
    return node === 'cp' && pods.length === 5 && pods.every(({ status }) => status.phase === 'Running');
  };
  await shell(INSTALL, packages);

  await t.test('init enables and starts both services', { bail: true }, async (t) => {
    await initCluster(host);
    t.same((await shell('ls /etc/runlevels/default')).split('\n'), [...SERVICES].sort());
    for (const name of SERVICES) t.match(await shell(`rc-service ${name} status`), /started/);
    await eventually('all pods', WAIT_MS, isAnswered);
  });

  await t.test('a service that is killed comes back', async (t) => {
    const before = await pids();
    t.ok(before.every(Boolean), 'status knows their pids');
    for (const pid of before) await shell(`kill -9 ${pid}`);
    await eventually('other processes', WAIT_MS, async () => {
      const now = await pids();
      return now.every((pid, index) => pid !== null && pid !== before[index]);
    });
    await eventually('an answer', WAIT_MS, isAnswered);
  });

  await t.test('containers outlive a stop of the services', async (t) => {
    const monitors = 'pgrep -c -f ^tkadm-monitor';
    const before = await shell(monitors);
    t.equal((await tkadm(host, ['service', 'stop'])).exitCode, 0);
    t.same(await pids(), [null, null]);
    t.equal(await shell('ls /etc/runlevels/default'), '', 'they would not start at boot either');
    t.equal(await shell(monitors), before, 'the same monitors');
    t.equal((await tkadm(host, ['service', 'start'])).exitCode, 0);
    await eventually('an answer', WAIT_MS, isAnswered);
  });

  await t.test('both start at boot', async () => {
    await host.reboot();
    await shell('openrc default');
    await eventually('all pods in new containers', WAIT_MS, async () => {
      if (!(await isAnswered())) return false;
      const pods = await getPods(host, ['-A']);
      return pods.every(({ status }) => (status.containerStatuses?.[0]?.restartCount ?? 0) > 0);
    });
  });

  await t.test('reset takes the services out', async (t) => {
    const result = await tkadm(host, ['reset', '-f']);
    t.equal(result.exitCode, 0, result.all);
    t.equal(await shell('ls /etc/init.d /etc/runlevels/default /run | grep tkadm || true'), '');
  });
});
