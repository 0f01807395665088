import { AT_EMPTY_PATH, AT_FDCWD, OPEN } from '../kernel-constants.ts';
import type { OciProcess } from '../oci-spec.ts';
import type { DataRef, Section, Value } from './program.ts';

const O_CLOEXEC = 0o2000000;
/** open_tree(2), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC */
const OPEN_TREE = 1 | O_CLOEXEC;
const TIOCSCTTY = 0x540e;
const TIOCSWINSZ = 0x5414;
const TIOCGPTPEER = 0x5441;
const TIOCSPTLCK = 0x40045431;

/** Opens a new pseudo-terminal's master, ioctl_tty(2). */
export function openTerminalMaster(section: Section, path: string, master: DataRef): void {
  section.step('open terminal');
  const flags = OPEN.RDWR | OPEN.NOCTTY | O_CLOEXEC;
  section.call('openat', [AT_FDCWD, section.text(path), flags, 0], { into: master });
  section.call('ioctl', [{ at: master }, TIOCSPTLCK, section.room()]);
}

/** Opens the other side of a terminal, sets its size and lets the user, as this namespace knows him, own it. */
export function openTerminalSlave(
  section: Section,
  master: Value,
  { process, uid }: { readonly process: OciProcess; readonly uid: number },
): DataRef {
  const slave = section.room();
  section.step('open terminal');
  section.call('ioctl', [master, TIOCGPTPEER, OPEN.RDWR | OPEN.NOCTTY | O_CLOEXEC], { into: slave });
  if (uid !== 0) section.call('fchown', [{ at: slave }, uid, -1]);
  if (process.consoleSize !== undefined) {
    const window = Buffer.alloc(8);
    window.writeUInt16LE(process.consoleSize.height, 0);
    window.writeUInt16LE(process.consoleSize.width, 2);
    section.call('ioctl', [{ at: slave }, TIOCSWINSZ, section.bytes(window)]);
  }
  return slave;
}

/** A new session with the terminal as the controlling one and as standard streams. */
export function controlTerminal(section: Section, slave: DataRef): void {
  section.step('set the controlling terminal');
  section.call('setsid', []);
  for (const target of [0, 1, 2]) section.call('dup3', [{ at: slave }, target, 0]);
  section.call('ioctl', [0, TIOCSCTTY, 0]);
}

/** The mount of a terminal's slave alone, to be put onto /dev/console; made in the namespace that has it. */
export function openTerminalTree(section: Section, slave: DataRef): DataRef {
  const tree = section.room();
  section.call('open_tree', [{ at: slave }, section.text(''), OPEN_TREE | AT_EMPTY_PATH], { into: tree });
  return tree;
}
