import type { Checker } from './problems.ts';
import type { ComponentDocument, TkadmConfiguration } from './types.ts';

/** Refuses what the embedded proxy does not have: it would end at once. The upstream one checks its own document. */
export function validateKubeProxy(
  document: ComponentDocument,
  { engine }: TkadmConfiguration,
  check: Checker,
): void {
  if (engine !== 'embedded') return;
  const mode = document['mode'] ?? '';
  if (mode !== '' && mode !== 'nftables') {
    check.invalid('mode', mode, 'the embedded engine has the mode "nftables" alone; leave it out');
  }
  for (const name of ['featureGates', 'nodePortAddresses']) {
    if (Object.keys((document[name] ?? {}) as object).length > 0) {
      check.forbidden(name, 'the proxy of the embedded engine does not support it');
    }
  }
}
