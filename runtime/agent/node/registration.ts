import type * as core from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../../base/errors.ts';

/** --node-labels: "key=value" entries. @throws AGENT_CONFIG_INVALID */
export function parseLabels(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const index = entry.indexOf('=');
      if (index < 1) throw invalid('--node-labels', entry, 'write it like "key=value"');
      return [entry.slice(0, index), entry.slice(index + 1)];
    }),
  );
}

const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

/** --register-with-taints: "key=value:effect" or "key:effect" entries, behind those of the configuration. @throws AGENT_CONFIG_INVALID */
export function parseTaints(
  entries: readonly string[],
  configured: readonly { readonly key: string; readonly value?: string; readonly effect: string }[],
): core.Taint[] {
  const taints = entries.map((entry) => {
    const match = /^([^=:]+)(?:=([^:]*))?:(\w+)$/.exec(entry);
    const effect = match?.[3] ?? '';
    if (!match || !EFFECTS.includes(effect)) {
      throw invalid('--register-with-taints', entry, 'write it like "key=value:NoSchedule"');
    }
    return { key: match[1]!, ...(match[2] ? { value: match[2] } : {}), effect } as core.Taint;
  });
  return [...(configured as core.Taint[]), ...taints];
}

function invalid(flag: string, entry: string, hint: string): TkadmError {
  return new TkadmError('AGENT_CONFIG_INVALID', `Cannot use ${flag} "${entry}": ${hint}`);
}
