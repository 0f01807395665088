import { FILE_CHECKS } from './checks/files.ts';
import { MACHINE_CHECKS } from './checks/machine.ts';
import { NETWORK_CHECKS } from './checks/network.ts';
import { SYSTEM_CHECKS } from './checks/system.ts';
import type { Check } from './finding.ts';

/** Every check, in the order in which findings are shown. */
export const CHECKS: readonly Check[] = [
  ...MACHINE_CHECKS,
  ...NETWORK_CHECKS,
  ...FILE_CHECKS,
  ...SYSTEM_CHECKS,
];
