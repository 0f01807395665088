import { load } from 'js-yaml';
import { hashStaticPod } from '../../runtime/api/static-pod-hash.ts';
import { readHostFacts } from '../../templates/input.ts';
import {
  BUNDLE_ANNOTATION,
  type ManifestRow,
  manifestPath,
  renderManifest,
  selectManifests,
} from '../../templates/manifests/manifests.ts';
import type { InitContext } from '../phases/init-context.ts';

/** What rendering the manifests of a node looks at. */
export type RenderContext = Pick<InitContext, 'config' | 'host' | 'env' | 'patches' | 'bundleId'>;

/** A manifest as it is and as it shall be. */
export interface ManifestChange {
  readonly row: ManifestRow;
  readonly path: string;
  /** '' when the file is not there. */
  readonly before: string;
  readonly after: string;
}

/** Every manifest of this node, changed or not, in the order in which an upgrade goes through them. */
export async function renderManifests(
  context: RenderContext,
  { withEtcd = true }: { readonly withEtcd?: boolean } = {},
): Promise<readonly ManifestChange[]> {
  const { config, host, env } = context;
  const { certificatesDir } = config.cluster;
  const [patches, bundleId] = await Promise.all([context.patches(), context.bundleId?.()]);
  const facts = await readHostFacts(host, { certificatesDir, env, bundleId });
  const rows = selectManifests(config).filter((row) => withEtcd || row.name !== 'etcd');
  return Promise.all(
    rows.map(async (row) => {
      const path = manifestPath(row);
      const before = (await host.readFile(path)) ?? '';
      return { row, path, before, after: renderManifest(row, config, facts, patches) };
    }),
  );
}

/** What the agent will say of the pod that runs from a manifest of this text. */
export function hashManifest(text: string, path: string, nodeName: string): string {
  return hashStaticPod(load(text), { path, nodeName });
}

/**
 * Components whose manifest is not what this package would have written for the version that it is of: somebody has
 * edited it, or another package has written it. The upgrade writes them anew.
 */
export async function findDrift(context: RenderContext): Promise<readonly string[]> {
  return (await renderManifests(context))
    .filter(({ before, after }) => before !== '' && withoutVersion(before) !== withoutVersion(after))
    .map(({ row }) => row.name);
}

/** Without the lines that an upgrade is about: the image and the bundle. */
function withoutVersion(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.includes(`${BUNDLE_ANNOTATION}:`) && !/^ +image: /.test(line))
    .join('\n');
}
