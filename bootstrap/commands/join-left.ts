import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, isServiceRunning, SERVICES } from '../../runtime/host/services.ts';

/** Files and directories that a join makes. */
const PLACES = [
  PATHS.bundle,
  PATHS.kubelet,
  `${PATHS.kubernetes}/kubelet.conf`,
  `${PATHS.kubernetes}/bootstrap-kubelet.conf`,
] as const;

/** What a join has made, or found, on a machine: paths, and services that run. */
export async function listJoinTraces(host: Host, caCertPath: string): Promise<readonly string[]> {
  const initSystem = await detectInitSystem(host);
  const places = await Promise.all(
    [...PLACES, caCertPath].map(async (path) => {
      const stat = await host.stat(path);
      const isThere = stat?.kind === 'directory' ? (await host.list(path)).length > 0 : stat !== undefined;
      return isThere ? [`"${path}"`] : [];
    }),
  );
  const services = await Promise.all(
    SERVICES.map(async ({ name }) =>
      (await isServiceRunning(host, name, initSystem)) ? [`the running ${name}`] : [],
    ),
  );
  return [...places, ...services].flat();
}

/** What a join that failed has left beside what was there before it; undefined: nothing. */
export function describeLeft(before: readonly string[], after: readonly string[]): string | undefined {
  const left = after.filter((trace) => !before.includes(trace));
  if (left.length === 0) return undefined;
  return `this join leaves ${left.join(', ')}: the same command goes on with it, "tkadm reset -f" removes it`;
}
