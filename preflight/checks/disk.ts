import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  type Check,
  errorFinding,
  type Finding,
  isUpstream,
  NODES,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { readScript } from '../observer.ts';

const MIB = 1024 * 1024;

interface DiskNeed {
  readonly path: string;
  readonly what: string;
  /** Less stops the run. */
  readonly neededBytes: number;
  /** Less is warned of. */
  readonly wantedBytes: number;
  readonly engine?: 'embedded' | 'upstream';
}

/** What is written where. Directories of one file system need the sum. */
const DISK_NEEDS: readonly DiskNeed[] = [
  {
    path: PATHS.state,
    what: 'programs, images and the store',
    neededBytes: 1024 * MIB,
    wantedBytes: 4096 * MIB,
    engine: 'embedded',
  },
  {
    path: '/var/lib/etcd',
    what: 'the store',
    neededBytes: 512 * MIB,
    wantedBytes: 2048 * MIB,
    engine: 'upstream',
  },
  { path: PATHS.kubelet, what: "pods' volumes", neededBytes: 100 * MIB, wantedBytes: 1024 * MIB },
  { path: '/var/log', what: 'logs', neededBytes: 50 * MIB, wantedBytes: 512 * MIB },
];

/** File systems on which overlayfs cannot put its upper directory (statfs(2) names of stat(1)). */
const NO_OVERLAY = [
  'overlayfs',
  'nfs',
  'fuseblk',
  'fuse',
  'msdos',
  'exfat',
  'isofs',
  'squashfs',
  'cifs',
  'smb2',
  '9p',
];

/** For each path: its nearest ancestor that is there, with df's line and the type of the file system. */
const SCRIPT = `for path; do
  p=$path; while [ ! -e "$p" ]; do p=$(dirname "$p"); done
  printf '%s\\t%s\\t%s\\n' "$path" "$(stat -f -c %T "$p")" "$(df -Pk "$p" | tail -n 1)"
done`;

interface Disk {
  readonly path: string;
  readonly type: string;
  readonly mountPoint: string;
  readonly device: string;
  readonly freeBytes: number;
}

/** Room for what a node writes, on file systems that can hold it. */
export const DISK_CHECKS: readonly Check[] = [
  {
    name: 'DiskSpace',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded: `free bytes below ${PATHS.state}, ${PATHS.kubelet} and /var/log, added up for each file system`,
      upstream: `free bytes below /var/lib/etcd, ${PATHS.kubelet} and /var/log, added up for each file system`,
    },
    async observe(host, input) {
      const needs = selectNeeds(input);
      const disks = await readDisks(host, needs);
      const mountPoints = [...new Set(disks.map((disk) => disk.mountPoint))];
      return mountPoints.flatMap((mountPoint) => {
        const here = disks.filter((disk) => disk.mountPoint === mountPoint);
        return judge(
          here[0]!,
          needs.filter((need) => here.some((disk) => disk.path === need.path)),
        );
      });
    },
  },
  {
    name: 'StateFileSystem',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded: `the file system of ${PATHS.state} can hold writable layers of containers`,
      upstream: 'nothing: the container runtime has its own directory',
    },
    async observe(host, input) {
      if (isUpstream(input)) return undefined;
      const disk = (await readDisks(host, selectNeeds(input))).find((row) => row.path === PATHS.state);
      if (!disk || !NO_OVERLAY.includes(disk.type)) return [];
      return [
        errorFinding(
          'StateFileSystem',
          `"${PATHS.state}" lies on ${disk.type}, which cannot hold the writable layers of containers`,
          `stat -f says ${disk.type} for "${disk.mountPoint}"`,
          `mount a disk with ext4 or xfs at ${PATHS.state}`,
        ),
      ];
    },
  },
];

function selectNeeds({ engine = 'embedded' }: PreflightInput): readonly DiskNeed[] {
  return DISK_NEEDS.filter((need) => need.engine === undefined || need.engine === engine);
}

async function readDisks(host: Host, needs: readonly DiskNeed[]): Promise<readonly Disk[]> {
  const text = await readScript(host, SCRIPT, ...needs.map((need) => need.path));
  return text
    .split('\n')
    .map((line) => /^(\S+)\t(\S*)\t(\S+)\s+\d+\s+\d+\s+(\d+)\s+\S+\s+(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({
      path: match[1]!,
      type: match[2]!,
      device: match[3]!,
      freeBytes: Number(match[4]) * 1024,
      mountPoint: match[5]!,
    }));
}

function judge(disk: Disk, needs: readonly DiskNeed[]): readonly Finding[] {
  const sum = (key: 'neededBytes' | 'wantedBytes') => needs.reduce((total, need) => total + need[key], 0);
  const isShort = disk.freeBytes < sum('neededBytes');
  if (!isShort && disk.freeBytes >= sum('wantedBytes')) return [];
  const where = needs.map((need) => `${need.path} (${need.what})`).join(', ');
  const limit = isShort ? sum('neededBytes') : sum('wantedBytes');
  const evidence =
    `"${disk.mountPoint}" on "${disk.device}" has ${formatMib(disk.freeBytes)} free, ` +
    `${formatMib(limit)} are ${isShort ? 'needed' : 'advised'}; on it: ${where}`;
  const fix = `du -xsh ${disk.mountPoint.replace(/\/$/, '')}/* | sort -h`;
  return isShort
    ? [errorFinding('DiskSpace', 'the disk has too little room', evidence, fix)]
    : [warningFinding('DiskSpace', 'images and logs will soon fill the disk', evidence, fix)];
}

function formatMib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB (${bytes} bytes)`;
}
