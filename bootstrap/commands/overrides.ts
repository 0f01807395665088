import { FLAG_FIELDS, type Overrides, type OverrideValue } from '../config/flags.ts';
import type { ConfigKind } from '../config/types.ts';

/** The parsed flags of a command that set fields of its configuration, by flag name: `podNetworkCidr` → "pod-network-cidr". */
export function collectOverrides(kind: ConfigKind, options: Readonly<Record<string, unknown>>): Overrides {
  const overrides: Record<string, OverrideValue> = {};
  for (const { flag } of FLAG_FIELDS[kind]) {
    const name = flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const value = options[name];
    if (value !== undefined) overrides[flag] = value as OverrideValue;
  }
  return overrides;
}
