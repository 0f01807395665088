import { failed, type Section } from './program.ts';

/** keyctl(2) */
const KEYCTL_JOIN_SESSION_KEYRING = 1;

/** A session keyring of its own: keys of the host, or of other containers, are not found in it (keyrings(7)). */
export function joinNewKeyring(section: Section): void {
  const next = section.label();
  section.step('join a new session keyring');
  // A kernel without keys has none to protect.
  section.call('keyctl', [KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0], { on: [[failed('ENOSYS'), next]] });
  section.place(next);
}
