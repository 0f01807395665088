import { TkadmError } from '../../runtime/base/errors.ts';
import type { CommandRow } from './command.ts';

/** kubeadm has it, tkadm has not: it is refused by name. Its document is read by `config`. */
export const UPGRADE_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'upgrade [args...]',
    description: 'Not there yet',
    isHidden: true,
    configure: (command) => command.allowUnknownOption(),
    run: () => {
      throw new TkadmError('UNSUPPORTED', 'Cannot upgrade: there is no "tkadm upgrade" yet', {
        hint: 'tkadm config validate checks an UpgradeConfiguration',
      });
    },
  },
];
