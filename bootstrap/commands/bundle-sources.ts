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
    nodeModulesDir: join(distDir, '..', 'node_modules'),
    ...(installed ? { installedDirectory: installed } : {}),
    signal,
  };
}
