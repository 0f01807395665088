import t from 'tap';
import { eventually } from '../hosts/cluster.ts';
import { machineObstacle, readTraces, runTkadm } from './cluster.ts';
import { bootMachines, type Machine } from './machine.ts';
import { runOci } from './oci.ts';
import { PAYLOAD, TEST_IMAGE } from './payload.ts';
import {
  CONFINED,
  DENIED,
  HINDRANCES,
  LABEL,
  loadPolicy,
  loadProfile,
  PROFILE,
  SHOW_PROFILE,
  UNKNOWN_LABEL,
} from './security.ts';

const TIMEOUT_MS = 2_400_000;
t.setTimeout(TIMEOUT_MS);

const MEMORY_BYTES = 64 << 20;
const FROM_PACKAGE = [PAYLOAD.node, PAYLOAD.tkadm];

t.test(
  'kernels with AppArmor and with SELinux',
  { skip: machineObstacle(), timeout: TIMEOUT_MS },
  async (t) => {
    const lab = await bootMachines({
      machines: [
        { name: 'one', memoryMiB: 768, processors: 1, security: 'selinux' },
        { name: 'two', memoryMiB: 768, processors: 1, security: 'apparmor' },
      ],
      log: (text) => t.comment(text),
    });
    t.teardown(() => lab.close());
    const [one, two] = lab.machines as [Machine, Machine];

    await t.test('process.apparmorProfile confines the process of a container', async (t) => {
      await loadProfile(two);
      const confined = await runOci(two, SHOW_PROFILE, { process: { apparmorProfile: PROFILE } });
      t.match(confined, { stdout: CONFINED, stderr: DENIED });
      t.match(await runOci(two, 'true', { process: { apparmorProfile: 'absent' } }), {
        exitCode: 1,
        stderr: /process\.apparmorProfile "absent"/,
      });
    });

    await t.test('process.selinuxLabel is the label of the process of a container', async (t) => {
      await loadPolicy(one);
      const labelled = await runOci(one, 'cat /proc/self/attr/current', { process: { selinuxLabel: LABEL } });
      t.equal(labelled.stdout.replace(/\0?\n?$/, ''), LABEL, labelled.stderr);
      t.match(await runOci(one, 'true', { process: { selinuxLabel: UNKNOWN_LABEL } }), {
        exitCode: 1,
        stderr: /process\.selinuxLabel "system_u:system_r:nobody_t:s0"/,
      });
    });

    await t.test(
      "a container of systemd's (--systemd-cgroup) has its limits on cgroup v2 alone",
      async (t) => {
        const result = await runOci(two, 'cat /proc/self/cgroup /sys/fs/cgroup/memory.max', {
          flags: ['--systemd-cgroup'],
          linux: {
            cgroupsPath: 'machine.slice:test:box',
            resources: { memory: { limit: MEMORY_BYTES } },
          },
        });
        t.match(result, { stdout: `0::/machine.slice/test-box.scope\n${MEMORY_BYTES}\n`, stderr: /^$/ });
      },
    );

    await t.test('reset turns swap on again and unloads the module that was loaded', async (t) => {
      await two.shell(HINDRANCES);
      const before = await readTraces(two);
      t.ok(before.includes('swap /swapfile 5'));
      const phase = ['init', 'phase', 'preflight', '--fix', '--ignore-preflight-errors=NumCPU,Mem'];
      const fixed = await runTkadm(two, phase, FROM_PACKAGE);
      t.equal(fixed.exitCode, 0, fixed.all);
      t.notMatch(await two.shell('cat /proc/swaps'), /swapfile/);
      t.match(await two.shell('cat /proc/modules'), /^veth /m);
      const reset = await runTkadm(two, ['reset', '-f'], FROM_PACKAGE);
      t.equal(reset.exitCode, 0, reset.all);
      t.same(await readTraces(two), before);
    });

    await t.test('tkadm ctr run --security-opt apparmor=PROFILE confines a container', async (t) => {
      await two.shell(`mkdir -p /run/tkadm
systemd-run --quiet --unit=machine-runtime ${PAYLOAD.node} ${PAYLOAD.runtime} --socket=/run/tkadm/runtime.sock`);
      await eventually('the runtime', 60_000, async () => {
        const { exitCode } = await runTkadm(two, ['image', 'load', '-i', PAYLOAD.image], FROM_PACKAGE);
        return exitCode === 0;
      });
      const options = ['--rm', '--network=none', '--security-opt', `apparmor=${PROFILE}`];
      const command = ['ctr', 'run', ...options, TEST_IMAGE, 'sh', '-c', SHOW_PROFILE];
      t.match(await runTkadm(two, command, FROM_PACKAGE), { stdout: CONFINED, stderr: DENIED });
    });
  },
);
