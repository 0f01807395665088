import { findWithoutEffect } from './component-fields.ts';
import type { Checker } from './problems.ts';
import type { InitConfig } from './types.ts';

/**
 * Refuses what the embedded engine's components would not start with. The upstream ones check their own documents.
 */
export function validateComponents(config: InitConfig, check: Checker): void {
  if (config.tkadm.engine !== 'embedded') return;
  const mode = config.kubeProxy['mode'] ?? '';
  if (mode !== '' && mode !== 'nftables') {
    const rule = 'the embedded engine has the mode "nftables" alone; leave it out';
    check.of('KubeProxyConfiguration').invalid('mode', mode, rule);
  }
  for (const { document, path, reason, isRefused } of findWithoutEffect(config)) {
    if (isRefused) check.of(document).forbidden(path, `the embedded engine does not support it: ${reason}`);
  }
}
