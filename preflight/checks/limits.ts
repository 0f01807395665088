import { type Check, type Finding, NODES, warningFinding } from '../finding.ts';
import { repairSysctl } from './network.ts';

interface LimitRow {
  readonly key: string;
  readonly atLeast: number;
  readonly why: string;
}

/** Limits of the whole machine that pods share. The kernel's own defaults suffice; some images lower them. */
const LIMITS: readonly LimitRow[] = [
  {
    key: 'fs.inotify.max_user_instances',
    atLeast: 128,
    why: 'the agent, the runtime and most pods watch files',
  },
  { key: 'fs.inotify.max_user_watches', atLeast: 8192, why: 'each watched file is one' },
  { key: 'kernel.pid_max', atLeast: 16384, why: 'pods are many processes and threads' },
  { key: 'fs.file-max', atLeast: 65536, why: 'pods share the open files of the machine' },
];

/** Numbers that run out on a machine with many pods. */
export const LIMIT_CHECKS: readonly Check[] = [
  {
    name: 'KernelLimits',
    scopes: NODES,
    severity: 'warning',
    looksAt: `in /proc/sys: ${LIMITS.map((row) => `${row.key} ≥ ${row.atLeast}`).join(', ')}`,
    async observe(host) {
      const findings = await Promise.all(
        LIMITS.map(async ({ key, atLeast, why }): Promise<readonly Finding[]> => {
          const path = `/proc/sys/${key.replaceAll('.', '/')}`;
          const text = (await host.readFile(path))?.trim();
          if (text === undefined || Number(text) >= atLeast) return [];
          return [
            {
              ...warningFinding(
                'KernelLimits',
                `${key} is low: ${why}`,
                `${path} is ${text}, ${atLeast} is advised`,
                `sysctl -w ${key}=${atLeast} && echo ${key}=${atLeast} >> /etc/sysctl.d/99-tkadm.conf`,
              ),
              ...repairSysctl(key, String(atLeast)),
            },
          ];
        }),
      );
      return findings.flat();
    },
  },
];
