import type { Checker } from './problems.ts';
import type { UpgradeConfig, UpgradeStep } from './types.ts';
import { validateIgnored, validatePatches, validatePullPolicy } from './validate-node.ts';
import { resolveVersion } from './version-labels.ts';

/** Checks the options of the upgrade commands. */
export function validateUpgrade(config: UpgradeConfig, check: Checker): void {
  for (const name of ['apply', 'node', 'plan'] as const) validateStep(config[name], name, check);
  validateTarget(config.diff.kubernetesVersion, 'diff.kubernetesVersion', check);
  const { contextLines } = config.diff;
  if (contextLines < 0) check.invalid('diff.contextLines', contextLines, 'it must not be negative');
}

function validateStep(step: UpgradeStep, path: string, check: Checker): void {
  validateTarget(step.kubernetesVersion, `${path}.kubernetesVersion`, check);
  validatePullPolicy(step.imagePullPolicy, `${path}.imagePullPolicy`, check);
  validateIgnored(step.ignorePreflightErrors, `${path}.ignorePreflightErrors`, check);
  validatePatches(step.patchesDirectory, check, `${path}.patches`);
}

function validateTarget(text: string | undefined, path: string, check: Checker): void {
  if (text === undefined || text === '') return;
  if (!/^v1\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/.test(resolveVersion(text).version)) {
    check.invalid(path, text, 'write it like "v1.36.2"');
  }
}
