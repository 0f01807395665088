import type { LabHost } from '../test/hosts/lab.ts';

/** A process on a host. */
export interface HostProcess {
  readonly pid: number;
  readonly command: string;
  /** Proportional set size, proc_pid_smaps(5). */
  readonly pssMib: number;
  /** User and system time so far, in clock ticks (1/100 s). */
  readonly cpuTicks: number;
}

/** One line a process: pid, Pss in kB, the line of stat after the name, the command line. */
const SCRIPT = `for d in /proc/[0-9]*; do
  pss=$(sed -n 's/^Pss: *\\([0-9]*\\).*/\\1/p' $d/smaps_rollup 2>/dev/null)
  [ -n "$pss" ] || continue
  printf "%s\\n" "\${d#/proc/}|$pss|$(sed 's/.*) //' $d/stat)|$(tr '\\0\\n' '  ' < $d/cmdline)"
done`;

/** Every process of a host that has memory of its own, apart from the ones that look. */
export async function readProcesses(host: LabHost): Promise<readonly HostProcess[]> {
  const { stdout } = await host.exec(['sh', '-c', SCRIPT]);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [pid = '', pss = '', stat = '', ...command] = line.split('|');
      const fields = stat.split(' ');
      return {
        pid: Number(pid),
        command: command.join('|').trim(),
        pssMib: Number(pss) / 1024,
        // utime and stime, fields 14 and 15, of which 2 come before the cut.
        cpuTicks: Number(fields[11]) + Number(fields[12]),
      };
    })
    .filter(({ command }) => !command.startsWith('sh -c for d in') && !command.startsWith('sed '));
}

/** What tkadm runs on a node, by words of the command line; monitors belong to the runtime. */
export const PROGRAMS = [
  { name: 'kube-apiserver', group: 'control plane' },
  { name: 'kube-controller-manager', group: 'control plane' },
  { name: 'kube-scheduler', group: 'control plane' },
  { name: 'kube-proxy', group: 'services' },
  { name: 'coredns', group: 'services' },
  { name: 'tkadm-agent', group: 'node' },
  { name: 'tkadm-runtime', group: 'node' },
  { name: 'tkadm-monitor', group: 'node' },
  { name: 'tkadm-spawner', group: 'node' },
] as const;

/** The program of PROGRAMS that a process is. */
export function programOf(process: HostProcess): (typeof PROGRAMS)[number] | undefined {
  return PROGRAMS.find(({ name }) => process.command.includes(name));
}
