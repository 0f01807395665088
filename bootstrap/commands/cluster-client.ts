import { ApiClient } from '../../runtime/api/client.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { CliContext } from './context.ts';

/** Kubeconfigs of a machine, that of the administrator first; a worker has its agent's alone. */
const FILES = ['admin.conf', 'kubelet.conf'] as const;

/**
 * A client of the cluster for commands that only look, made once: with --kubeconfig, else $KUBECONFIG, else what is on
 * the machine. @throws KUBECONFIG_INVALID
 */
export function openCluster(context: CliContext, kubeconfig?: string): () => Promise<ApiClient> {
  let client: ApiClient | undefined;
  return async () => {
    client ??= new ApiClient(await loadClientConfig(await findKubeconfig(context, kubeconfig)));
    return client;
  };
}

async function findKubeconfig({ env, fileExists }: CliContext, given?: string): Promise<string> {
  const named = given ?? env['KUBECONFIG'];
  if (named) return named;
  const paths = FILES.map((file) => `${PATHS.kubernetes}/${file}`);
  for (const path of paths) if (await fileExists(path)) return path;
  return paths[0]!;
}
