import { PATHS } from '../../../runtime/base/paths.ts';
import { type DiagnosisRow, quoteEnd, quoteFailures, seen } from '../diagnosis.ts';
import type { MachineEvidence } from '../evidence.ts';

const MIB = 1024 * 1024;
/** Below this nothing can be written that matters. */
const FULL_BYTES = 32 * MIB;
const SLOW_SYNC_MS = 1_000;
const CONNTRACK_FULL = 0.97;
const SCARCE_MEMORY = 0.03;

/** What is wrong with a machine itself, under all programs of the cluster. */
export const MACHINE_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'no-cluster',
    of: 'machine',
    summary: 'The machine is no node of a cluster',
    confidence: 'certain',
    matches: ({ role, isLocal, name }, { cluster }) =>
      role === 'none' && isLocal && (cluster === undefined || cluster.problem?.code === 'KUBECONFIG_INVALID')
        ? {
            cause: `"${name}" has no cluster`,
            fix: 'tkadm init, or tkadm join API-SERVER --token TOKEN --discovery-token-ca-cert-hash PIN',
            evidence: [
              `there is neither "${PATHS.kubernetes}/admin.conf" nor "${PATHS.kubernetes}/kubelet.conf"`,
            ],
          }
        : undefined,
  },
  {
    name: 'file-system-read-only',
    of: 'machine',
    summary: 'A file system that the node writes to is mounted read-only',
    confidence: 'certain',
    matches: ({ disks, name }) => {
      const disk = disks.find(({ isReadOnly }) => isReadOnly);
      return (
        disk && {
          cause: `"${disk.path}" on ${name} cannot be written: its file system is mounted read-only`,
          fix: `dmesg | tail; then: mount -o remount,rw "$(findmnt -n -o TARGET -T ${disk.path})"`,
          evidence: [`findmnt -T ${disk.path}: option "ro"`],
        }
      );
    },
  },
  {
    name: 'disk-full',
    of: 'machine',
    summary: 'No space is left where the node writes',
    confidence: 'certain',
    matches: ({ disks, name }) => {
      const disk = disks.find((row) => row.sizeBytes > 0 && row.freeBytes < FULL_BYTES);
      return (
        disk && {
          cause: `no space is left on the file system of "${disk.path}" on ${name}`,
          fix: `du -xh ${disk.path} | sort -h | tail; then make room, for images: tkadm image prune`,
          evidence: [`${disk.path}: ${formatMib(disk.freeBytes)} of ${formatMib(disk.sizeBytes)} free`],
        }
      );
    },
  },
  {
    name: 'inodes-used-up',
    of: 'machine',
    summary: 'No inode is left where the node writes',
    confidence: 'certain',
    matches: ({ disks, name }) => {
      const disk = disks.find((row) => row.inodes > 0 && row.freeInodes === 0);
      return (
        disk && {
          cause: `no file can be made on the file system of "${disk.path}" on ${name}: its inodes are used up`,
          fix: `du --inodes -x ${disk.path} | sort -n | tail; then remove files`,
          evidence: [`${disk.path}: 0 of ${disk.inodes} inodes free`],
        }
      );
    },
  },
  {
    name: 'bundle-damaged',
    of: 'machine',
    summary: 'Files of the node bundle are missing or empty',
    confidence: 'certain',
    matches: ({ bundleProblem, name }) =>
      bundleProblem
        ? {
            cause: `the node bundle of ${name} is damaged: its programs cannot be started`,
            fix: `remove ${PATHS.bundle} and run the same tkadm init or tkadm join again, which brings it back`,
            evidence: [bundleProblem],
          }
        : undefined,
  },
  {
    name: 'cgroup-controllers-missing',
    of: 'machine',
    summary: 'The kernel offers no cgroup controller that limits need',
    confidence: 'certain',
    matches: ({ missingControllers, role, name }) =>
      role !== 'none' && missingControllers.length > 0
        ? {
            cause: `the kernel of ${name} lacks cgroup controllers: no pod can be limited`,
            fix: 'boot with cgroup_enable=memory and without cgroup_disable',
            evidence: [`missing: ${missingControllers.join(', ')}`],
          }
        : undefined,
  },
  ...(['tkadm-runtime', 'tkadm-agent'] as const).map(
    (service): DiagnosisRow => ({
      name: service === 'tkadm-runtime' ? 'runtime-stopped' : 'agent-stopped',
      of: 'machine',
      summary: `${service} does not run, and nothing starts it`,
      confidence: 'certain',
      matches: (machine) => {
        const row = findService(machine, service);
        if (machine.role === 'none' || !row || row.isKept || row.pid) return undefined;
        return {
          cause: `${service} does not run on ${machine.name}`,
          fix: 'tkadm service start',
          evidence: seen(
            `${service}: no process, and nothing that starts it`,
            ...quoteFailures(service, row.log),
          ),
        };
      },
    }),
  ),
  {
    name: 'service-crashing',
    of: 'machine',
    summary: 'A host service ends again and again',
    confidence: 'likely',
    matches: (machine) => {
      const row = machine.services.find(({ isKept, pid }) => isKept && pid === undefined);
      if (machine.role === 'none' || !row) return undefined;
      return {
        cause: `${row.name} ends as soon as it is started on ${machine.name}`,
        fix: `mend what its log says; all of it: tkadm service status`,
        evidence: seen(`${row.name} is kept running and has no process`, ...quoteEnd(row.name, row.log)),
      };
    },
  },
  {
    name: 'ip-forward-off',
    of: 'machine',
    summary: 'The kernel forwards no packets (net.ipv4.ip_forward)',
    confidence: 'certain',
    matches: ({ kernel, role, name }) =>
      role !== 'none' && kernel.isForwarding === false
        ? {
            cause: `${name} forwards no packets: pods reach nothing outside of it`,
            fix: 'sysctl -w net.ipv4.ip_forward=1, and the same line in /etc/sysctl.d/',
            evidence: ['net.ipv4.ip_forward = 0'],
          }
        : undefined,
  },
  {
    name: 'conntrack-full',
    of: 'machine',
    summary: 'The table of connections is full',
    confidence: 'certain',
    matches: ({ kernel: { conntrack }, name }) =>
      conntrack && conntrack.max > 0 && conntrack.count >= conntrack.max * CONNTRACK_FULL
        ? {
            cause: `the connection table of ${name} is full: new connections are dropped`,
            fix: `sysctl -w net.netfilter.nf_conntrack_max=${conntrack.max * 2}`,
            evidence: [`nf_conntrack_count ${conntrack.count} of ${conntrack.max}`],
          }
        : undefined,
  },
  {
    name: 'memory-scarce',
    of: 'machine',
    summary: 'Hardly any memory is left',
    confidence: 'likely',
    matches: ({ memory, name }) =>
      memory && memory.availableBytes < memory.totalBytes * SCARCE_MEMORY
        ? {
            cause: `${name} has hardly any memory left: the kernel ends programs for it`,
            fix: 'dmesg | grep -i "killed process"; give pods smaller limits, or the machine more memory',
            evidence: [`MemAvailable ${formatMib(memory.availableBytes)} of ${formatMib(memory.totalBytes)}`],
          }
        : undefined,
  },
  {
    name: 'disk-slow',
    of: 'machine',
    summary: 'A small write takes longer than a second until it is on disk',
    confidence: 'possible',
    matches: ({ syncMs, name }) =>
      syncMs !== undefined && syncMs > SLOW_SYNC_MS
        ? {
            cause: `the disk of ${name} is slow: the store waits for each write`,
            fix: `see who writes: cat /proc/pressure/io; put ${PATHS.store} on a faster disk`,
            evidence: [`512 bytes took ${Math.round(syncMs)} ms until they were on disk`],
          }
        : undefined,
  },
  {
    name: 'swap-on',
    of: 'machine',
    summary: 'Swap is on',
    confidence: 'possible',
    matches: ({ swaps, role, name }) =>
      role !== 'none' && swaps.length > 0
        ? {
            cause: `${name} swaps: memory limits do not bind, and programs may stand still`,
            fix: 'swapoff -a, and take the line out of /etc/fstab',
            evidence: [`/proc/swaps: ${swaps.join(', ')}`],
          }
        : undefined,
  },
];

function findService({ services }: MachineEvidence, name: string) {
  return services.find((row) => row.name === name);
}

function formatMib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}
