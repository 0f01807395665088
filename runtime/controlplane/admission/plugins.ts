import { TkadmError } from '../../base/errors.ts';
import { createDefaultIngressClass, createDefaultStorageClass } from './plugins/default-classes.ts';
import { defaultTolerationSeconds } from './plugins/default-toleration-seconds.ts';
import { createNamespaceLifecycle } from './plugins/namespace-lifecycle.ts';
import { createPriority } from './plugins/priority.ts';
import { createServiceAccountPlugin } from './plugins/service-account.ts';
import { storageObjectInUseProtection } from './plugins/storage-object-in-use-protection.ts';
import { taintNodesByCondition } from './plugins/taint-nodes-by-condition.ts';
import type { AdmissionOptions, AdmissionPlugin } from './types.ts';

interface PluginRow {
  readonly name: string;
  readonly isDefault: boolean;
  readonly create: (options: AdmissionOptions) => AdmissionPlugin;
}

/** In upstream's order (`kubeapiserver/options/plugins.go`). */
export const PLUGIN_ROWS: readonly PluginRow[] = [
  { name: 'NamespaceLifecycle', isDefault: true, create: createNamespaceLifecycle },
  { name: 'ServiceAccount', isDefault: true, create: createServiceAccountPlugin },
  { name: 'TaintNodesByCondition', isDefault: true, create: () => taintNodesByCondition },
  { name: 'Priority', isDefault: true, create: createPriority },
  { name: 'DefaultTolerationSeconds', isDefault: true, create: () => defaultTolerationSeconds },
  { name: 'DefaultStorageClass', isDefault: true, create: createDefaultStorageClass },
  { name: 'StorageObjectInUseProtection', isDefault: true, create: () => storageObjectInUseProtection },
  { name: 'DefaultIngressClass', isDefault: true, create: createDefaultIngressClass },
];

/**
 * The plugins that are on: the defaults and `enabled` without `disabled`, in upstream's order.
 * @throws UNSUPPORTED for a plugin that is not in the table
 */
export function createAdmissionPlugins(options: AdmissionOptions): readonly AdmissionPlugin[] {
  const { enabled = [], disabled = [] } = options;
  const unknown = [...enabled, ...disabled].find((name) => !PLUGIN_ROWS.some((row) => row.name === name));
  if (unknown !== undefined) {
    throw new TkadmError('UNSUPPORTED', `Cannot use the admission plugin "${unknown}": not supported`, {
      hint: `The plugins are ${PLUGIN_ROWS.map(({ name }) => name).join(', ')}`,
    });
  }
  return PLUGIN_ROWS.filter(
    ({ name, isDefault }) => (isDefault || enabled.includes(name)) && !disabled.includes(name),
  ).map(({ create }) => create(options));
}
