import { readScript } from '../../../preflight/observer.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { PATHS } from '../../../runtime/base/paths.ts';
import type { DiskEvidence } from '../evidence.ts';

/** Where a node writes. */
const PLACES = [PATHS.state, PATHS.store, PATHS.kubelet, PATHS.kubernetes, '/var/log', PATHS.run];

/**
 * For each place that is there: path, block size, free and all blocks, free and all inodes, and the mount's options:
 * of those whose mount point is a beginning of the path, the longest one's.
 */
const SCRIPT = `for p; do
  [ -e "$p" ] || continue
  printf '%s\\t%s\\t%s\\n' "$p" "$(stat -f -c '%S %a %b %d %c' "$p")" "$(findmnt -n -o OPTIONS -T "$p" 2>/dev/null)"
done`;

/** The file systems that a node writes to. */
export async function collectDisks(host: Host): Promise<readonly DiskEvidence[]> {
  return (await readScript(host, SCRIPT, ...PLACES))
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [path = '', numbers = '', options = ''] = line.split('\t');
      const [block = 0, free = 0, all = 0, freeInodes = 0, inodes = 0] = numbers.split(' ').map(Number);
      return {
        path,
        freeBytes: block * free,
        sizeBytes: block * all,
        freeInodes,
        inodes,
        isReadOnly: options.split(',').includes('ro'),
      };
    });
}

/** dd(1) tells how long a block took with its fsync; the file is gone afterwards. */
const SYNC_SCRIPT = `f=$(mktemp "$1/.tkadm-why.XXXXXX") || exit 1
trap 'rm -f "$f"' EXIT
LC_ALL=C dd if=/dev/zero of="$f" bs=512 count=1 conv=fsync 2>&1 | sed -n 's/.* \\([0-9.e-]*\\) s,.*/\\1/p'`;

/** Milliseconds that one small write takes until it is on disk. */
export async function measureSync(host: Host): Promise<number | undefined> {
  const seconds = (await readScript(host, SYNC_SCRIPT, PATHS.state)).trim();
  return seconds === '' || Number.isNaN(Number(seconds)) ? undefined : Number(seconds) * 1000;
}
