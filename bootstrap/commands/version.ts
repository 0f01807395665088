import { dump } from 'js-yaml';
import type { CliContext } from './context.ts';

export interface Versions {
  readonly tkadm: string;
  readonly kubernetes: string;
}

/** `tkadm version`: of the tool and of the Kubernetes API that it serves. */
export function printVersion(context: CliContext, format: string, versions: Versions): void {
  if (format === 'json') context.write(`${JSON.stringify(versions)}\n`);
  else if (format === 'yaml') context.write(dump(versions));
  else if (format === 'short') context.write(`${versions.tkadm}\n`);
  else context.write(`tkadm ${versions.tkadm}, Kubernetes ${versions.kubernetes}\n`);
}
