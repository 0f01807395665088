import { formatError } from '../base/errors.ts';
import { checkKeyPair } from '../base/key-pair.ts';
import type { Logger } from '../base/log.ts';
import { watchFiles } from '../base/watch-files.ts';
import type { ClientConfig } from './kubeconfig.ts';

export interface FollowClientConfigOptions {
  /** What is in use. */
  readonly current: ClientConfig;
  /** Reads the settings again: `loadClientConfig` of the same path. */
  readonly load: () => Promise<ClientConfig>;
  /** Takes settings that differ; a certificate among them has its key. */
  readonly onChange: (config: ClientConfig) => void;
  /** A file was replaced where this process cannot see the new one. */
  readonly onDetached?: ((path: string) => void) | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Follows the files that client settings come from, and hands on each new whole state of them. */
export function followClientConfig(options: FollowClientConfigOptions): void {
  const { load, onChange, onDetached, log, signal } = options;
  let current = options.current;
  let lastProblem = '';
  let watching = new AbortController();
  const onEvent = async () => {
    try {
      const fresh = await load();
      lastProblem = '';
      if (JSON.stringify(fresh) === JSON.stringify(current)) return;
      if (fresh.certPem && fresh.keyPem) checkKeyPair(fresh.certPem, fresh.keyPem);
      const hasOtherFiles = String(fresh.files) !== String(current.files);
      current = fresh;
      log.info('Took the new credentials', { file: fresh.files?.[0] });
      onChange(fresh);
      if (hasOtherFiles) start();
    } catch (error) {
      const problem = formatError(error);
      if (problem !== lastProblem) log.warn(`Keeping the credentials in use: ${problem}`);
      lastProblem = problem;
    }
  };
  const start = () => {
    watching.abort();
    watching = new AbortController();
    watchFiles({
      paths: current.files ?? [],
      onEvent,
      onDetached,
      signal: AbortSignal.any([signal, watching.signal]),
    });
  };
  start();
  // What changed between the first reading and the watch.
  void onEvent();
}
