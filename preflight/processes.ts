import type { Host } from '../runtime/base/host.ts';
import { readScript } from './observer.ts';

export interface ProcessRow {
  readonly pid: number;
  /** At most 15 letters (proc(5) comm). */
  readonly name: string;
  /** "/usr/bin/kubelet"; "" when it cannot be read. */
  readonly program: string;
}

/** Programs that a check asks for, by the beginning of their names. */
const NAMES = [
  'kubelet',
  'kube-*',
  'k3s*',
  'k0s*',
  'kubelite',
  'rke2*',
  'etcd',
  'dockerd',
  'containerd',
  'crio',
  'firewalld',
  'chronyd',
  'ntpd*',
  'openntpd',
  'systemd-timesyn',
  'ptp4l',
  'phc2sys',
];

/** Only shell built-ins for all processes: a fork for each would be slow on a machine that has many. */
const SCRIPT = `for d in /proc/[0-9]*; do
  read -r c 2>/dev/null < "$d/comm" || continue
  case $c in ${NAMES.join('|')}) printf '%s\\t%s\\t%s\\n' "\${d#/proc/}" "$c" "$(readlink "$d/exe" 2>/dev/null)" ;; esac
done`;

/** The running programs of NAMES. Those of this package run in Node.js and are left out. */
export async function listProcesses(host: Host): Promise<readonly ProcessRow[]> {
  return (await readScript(host, SCRIPT))
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split('\t'))
    .map(([pid = '', name = '', program = '']) => ({ pid: Number(pid), name, program }))
    .filter((row) => !/\/node$/.test(row.program));
}

/** `pid 123 (kubelet, "/usr/bin/kubelet")` */
export function formatProcess({ pid, name, program }: ProcessRow): string {
  return `pid ${pid} (${name}${program === '' ? '' : `, "${program}"`})`;
}

/** Who holds a socket. */
export interface SocketHolder extends ProcessRow {
  /** A program of this package. */
  readonly isOwn: boolean;
}

const HOLDER_SCRIPT = `for inode; do
  for f in $(find /proc/[0-9]*/fd -maxdepth 1 -lname "socket:\\[$inode\\]" 2>/dev/null); do
    p=\${f%/fd/*}
    printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$inode" "\${p#/proc/}" "$(cat "$p/comm")" "$(readlink "$p/exe")" "$(tr '\\0' ' ' < "$p/cmdline")"
    break
  done
done 2>/dev/null`;

const OWN_TITLES = ['kube-apiserver', 'kube-controller', 'kube-scheduler', 'kube-proxy', 'coredns'];

/** The first process that holds each socket, by inode; a holder in another pid namespace is not seen. */
export async function findSocketHolders(
  host: Host,
  inodes: readonly string[],
): Promise<ReadonlyMap<string, SocketHolder>> {
  if (inodes.length === 0) return new Map();
  const rows = (await readScript(host, HOLDER_SCRIPT, ...inodes)).split('\n').filter(Boolean);
  return new Map(
    rows.map((row) => {
      const [inode = '', pid = '', name = '', program = '', command = ''] = row.split('\t');
      const isNode = /\/node$/.test(program);
      const isOwn =
        isNode &&
        (/\/tkadm[\w-]*\.(c?js)\b/.test(command) || OWN_TITLES.some((title) => name.startsWith(title)));
      return [inode, { pid: Number(pid), name, program, isOwn }];
    }),
  );
}
