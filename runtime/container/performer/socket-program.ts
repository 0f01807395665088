import type { DataRef, Section, Value } from './program.ts';

const O_CLOEXEC = 0o2000000;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** `struct sockaddr_un`: the family, and a path with its zero byte. */
const ADDRESS_SIZE = 110;
const MAX_PATH_LENGTH = 107;
const MESSAGE_SIZE = 56;
const IOV_OFFSET = 16;
const CONTROL_OFFSET = 32;
/** `struct cmsghdr` and one descriptor behind it, cmsg(3). */
const CONTROL_SIZE = 24;
const RIGHTS_OFFSET = 16;
/** What runc sends beside the descriptor is the terminal's name. */
const TERMINAL_NAME = '/dev/ptmx';

/** Connects to the unix socket at a path; the word is its descriptor. @throws Error for a path that is too long */
export function connectSocket(section: Section, path: string): DataRef {
  if (Buffer.byteLength(path) > MAX_PATH_LENGTH)
    throw new Error(`console socket "${path}": longer than 107 bytes`);
  const address = Buffer.alloc(ADDRESS_SIZE);
  address.writeUInt16LE(AF_UNIX);
  address.write(path, 2);
  const socket = section.room();
  section.step(`connect to the console socket "${path}"`);
  section.call('socket', [AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0], { into: socket });
  section.call('connect', [{ at: socket }, section.bytes(address), ADDRESS_SIZE]);
  return socket;
}

/** Sends a terminal's master through a socket (SCM_RIGHTS, unix(7)), and closes the socket. */
export function sendTerminal(section: Section, socket: DataRef, master: Value): void {
  const name = section.text(TERMINAL_NAME);
  const part = Buffer.alloc(16);
  part.writeUInt32LE(TERMINAL_NAME.length, 8);
  const vector = section.bytes(part);
  section.point(vector, 0, name);
  const rights = Buffer.alloc(CONTROL_SIZE);
  rights.writeUInt32LE(RIGHTS_OFFSET + 4, 0);
  rights.writeInt32LE(SOL_SOCKET, 8);
  rights.writeInt32LE(SCM_RIGHTS, 12);
  const control = section.bytes(rights);
  const header = Buffer.alloc(MESSAGE_SIZE);
  header.writeUInt32LE(1, IOV_OFFSET + 8);
  header.writeUInt32LE(CONTROL_SIZE, CONTROL_OFFSET + 8);
  const message = section.bytes(header);
  section.point(message, IOV_OFFSET, vector);
  section.point(message, CONTROL_OFFSET, control);
  section.step('send the terminal to the console socket');
  section.call('', [master], { into: { section, offset: control.offset + RIGHTS_OFFSET } });
  section.call('sendmsg', [{ at: socket }, message, 0]);
  section.call('close', [{ at: socket }]);
}
