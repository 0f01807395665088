import type { Checker } from './problems.ts';
import { checkAbsolutePath, checkOneOf } from './rules.ts';
import type { ResetConfig } from './types.ts';
import { validateIgnored, validateSocket } from './validate-node.ts';

/** Flags of umount2(2). */
const UNMOUNT_FLAGS = ['MNT_FORCE', 'MNT_DETACH', 'MNT_EXPIRE', 'UMOUNT_NOFOLLOW'];

/** Checks what reset removes and how. */
export function validateReset(config: ResetConfig, check: Checker): void {
  if (config.certificatesDir !== undefined) {
    checkAbsolutePath(check, 'certificatesDir', config.certificatesDir);
  }
  validateSocket(config.criSocket, 'criSocket', check);
  validateIgnored(config.ignorePreflightErrors, 'ignorePreflightErrors', check);
  for (const [i, flag] of config.unmountFlags.entries()) {
    checkOneOf(check, `unmountFlags[${i}]`, flag, UNMOUNT_FLAGS);
  }
  const { unmountFlags } = config;
  // umount2(2): EINVAL together with the two others.
  if (unmountFlags.includes('MNT_EXPIRE') && unmountFlags.some((flag) => /FORCE|DETACH/.test(flag))) {
    check.invalid('unmountFlags', unmountFlags, 'MNT_EXPIRE excludes MNT_FORCE and MNT_DETACH');
  }
}
