import type { AdmissionPlugin, AdmissionRequest } from '../admission/types.ts';

/**
 * Runs `perform` behind every plugin's `admit` and, after `check`, `validate`; undoes what was reserved if it fails
 * or is undefined, which is a conflict.
 */
export async function runAdmitted<T>(
  plugins: readonly AdmissionPlugin[],
  request: AdmissionRequest,
  { perform, check }: { readonly perform: () => Promise<T>; readonly check: () => void },
): Promise<T> {
  const admitted: AdmissionPlugin[] = [];
  try {
    for (const plugin of plugins) {
      admitted.push(plugin);
      await plugin.admit?.(request);
    }
    check();
    for (const plugin of plugins) await plugin.validate?.(request);
    const result = await perform();
    if (result === undefined) await undoAll(admitted, request);
    return result;
  } catch (error) {
    await undoAll(admitted, request);
    throw error;
  }
}

async function undoAll(plugins: AdmissionPlugin[], request: AdmissionRequest): Promise<void> {
  for (const plugin of plugins.reverse()) await plugin.undo?.(request);
}
