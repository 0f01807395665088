import type { CommandOutput } from '../hosts/lab.ts';
import type { ReachableMachine } from './machine.ts';
import { PAYLOAD } from './payload.ts';

export interface OciRun {
  /** Flags before the verb. */
  readonly flags?: readonly string[];
  /** Fields of the process besides its command. */
  readonly process?: object;
  /** Fields of `linux` besides the namespaces. */
  readonly linux?: object;
}

/** A root file system of busybox, with the configuration that comes by standard input. */
const BUNDLE = `cd "$(mktemp -d)"
mkdir -p rootfs/bin rootfs/proc rootfs/etc rootfs/sys/fs/cgroup
cp /bin/busybox rootfs/bin/busybox
for name in sh cat; do ln -s busybox rootfs/bin/$name; done
echo secret > rootfs/etc/motd
cat > config.json
exec "$@" run --bundle . box`;

/** Runs a script in a container that `tkadm-oci` makes on a machine. */
export function runOci(
  machine: ReachableMachine,
  script: string,
  { flags = [], process = {}, linux = {} }: OciRun,
): Promise<CommandOutput> {
  const namespaces = ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type }));
  const spec = {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['sh', '-c', script],
      env: ['PATH=/bin'],
      cwd: '/',
      ...process,
    },
    root: { path: 'rootfs' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] },
    ],
    linux: { namespaces, ...linux },
  };
  const oci = [PAYLOAD.node, PAYLOAD.oci, '--root', '/run/machine-test', ...flags];
  return machine.exec(['sh', '-ec', BUNDLE, 'sh', ...oci], { input: JSON.stringify(spec) });
}
