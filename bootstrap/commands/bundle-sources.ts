import { dirname, join } from 'node:path';
import type { BundleSources } from '../../runtime/host/bundle.ts';
import type { CliContext } from './context.ts';

/**
 * Where the parts of the node bundle are: beside the script that runs. On a node that got its bundle over
 * SSH the script is inside the bundle, and there is nothing to assemble.
 */
export function bundleSources(context: Pick<CliContext, 'entryPath' | 'nodePath' | 'signal'>): BundleSources {
  const { entryPath, nodePath, signal } = context;
  const installed = /^(.*)\/rootfs\/opt\/tkadm\/cli\/tkadm\.js$/.exec(entryPath)?.[1];
  const distDir = dirname(entryPath);
  return {
    nodePath,
    distDir,
    packageFolders: listPackageFolders(distDir),
    ...(installed ? { installedDirectory: installed } : {}),
    signal,
  };
}

/** Where Node.js looks for packages: `node_modules` of each folder above, of which npm may have chosen any. */
function listPackageFolders(folder: string): readonly string[] {
  const above = dirname(folder);
  return above === folder ? [] : [join(above, 'node_modules'), ...listPackageFolders(above)];
}
