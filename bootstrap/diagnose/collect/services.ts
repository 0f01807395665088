import type { Host } from '../../../runtime/base/host.ts';
import { PATHS } from '../../../runtime/base/paths.ts';
import {
  detectInitSystem,
  isServiceRunning,
  SERVICES,
  serviceLogPath,
  servicePid,
} from '../../../runtime/host/services.ts';
import type { ServiceEvidence } from '../evidence.ts';

const LOG_LINES = 8;
const PROGRAM = 'rootfs/usr/bin/node';

/** The two host services with their last log lines. */
export async function collectServices(host: Host): Promise<readonly ServiceEvidence[]> {
  const initSystem = await detectInitSystem(host);
  return Promise.all(
    SERVICES.map(async ({ name }) => {
      const argv =
        initSystem === 'systemd'
          ? ['journalctl', '-u', name, '-n', String(LOG_LINES), '-o', 'cat', '--no-pager']
          : ['tail', '-n', String(LOG_LINES), serviceLogPath(name)];
      const [isKept, pid, log] = await Promise.all([
        isServiceRunning(host, name, initSystem),
        servicePid(host, name, initSystem),
        host.run(argv),
      ]);
      return { name, isKept, pid, log: log.stdout.trimEnd().split('\n').filter(Boolean) };
    }),
  );
}

/** What the services start from: undefined when it is whole. */
export async function judgeBundle(host: Host): Promise<string | undefined> {
  const current = `${PATHS.bundle}/current`;
  if (!(await host.stat(current))) return `"${current}" is not there`;
  const files = [
    `${current}/image.json`,
    `${current}/${PROGRAM}`,
    ...SERVICES.map(({ name }) => `${current}/rootfs/opt/tkadm/${name}.cjs`),
  ];
  const stats = await Promise.all(files.map((path) => host.stat(path)));
  const missing = files.find((_, i) => stats[i] === undefined);
  if (missing) return `"${missing}" is not there`;
  const empty = files.find((_, i) => stats[i]?.kind === 'file' && stats[i]?.sizeBytes === 0);
  return empty && `"${empty}" is empty`;
}
