import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';

/** Our CNI network list; another file in the directory means another network, which is left alone. */
const FILE = '10-tkadm.conflist';

export interface CniConfigOptions {
  /** "/etc/cni/net.d" */
  readonly directory: string;
  readonly podCidr: string;
  readonly buildConfig: (podCidr: string) => object;
}

/** Writes the node's CNI configuration unless there is another; returns whether a file changed. */
export async function writeCniConfig(options: CniConfigOptions): Promise<boolean> {
  const names = await readdir(options.directory).catch(() => []);
  const others = names.filter((name) => name !== FILE && /\.(conf|conflist|json)$/.test(name));
  if (others.length > 0) return false;
  const path = join(options.directory, FILE);
  const text = `${JSON.stringify(options.buildConfig(options.podCidr), undefined, 2)}\n`;
  if ((await readFileIfExists(path)) === text) return false;
  await writeFileAtomic(path, text);
  return true;
}

/** The network list of tkadm's own bridge plugin for a node's pod CIDR. */
export function buildCniConfig(podCidr: string): object {
  return {
    cniVersion: '1.0.0',
    name: 'tkadm',
    plugins: [
      {
        type: 'tkadm-bridge',
        bridge: 'tkadm0',
        podCIDR: podCidr,
        capabilities: { portMappings: true },
      },
    ],
  };
}
