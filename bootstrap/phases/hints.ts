import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, type ServiceName, serviceLogPath } from '../../runtime/host/services.ts';

/** The command that shows what a service of this machine has logged. */
export async function serviceLogHint(host: Host, name: ServiceName): Promise<string> {
  return (await detectInitSystem(host)) === 'systemd'
    ? `journalctl -u ${name} -n 50`
    : `tail -n 50 ${serviceLogPath(name)}`;
}

/** The command that shows what a static pod of this node has logged. */
export function podLogHint(component: string, nodeName: string): string {
  return `tail -n 50 ${PATHS.podLogs}/kube-system_${component}-${nodeName}_*/${component}/*.log`;
}
