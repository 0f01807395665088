import { formatIdMap, type IdMappings } from '../id-mappings.ts';
import { AT_FDCWD, CLONE, OPEN } from '../kernel-constants.ts';
import type { OciSpec } from '../oci-spec.ts';
import { type DataRef, type Section, writeEnd } from './program.ts';

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const SIGKILL = 9;
const SIGCHLD = 17;
const PR_SET_PDEATHSIG = 1;

/**
 * The user namespace that a spec asks for, as a descriptor: made, or opened by its path. Undefined without one.
 * @throws Error for mappings that cannot be written
 */
export function openUserNamespace(section: Section, { linux }: OciSpec): DataRef | undefined {
  const wanted = linux?.namespaces?.find(({ type }) => type === 'user');
  if (wanted === undefined) return undefined;
  const { uidMappings = [], gidMappings = [] } = linux ?? {};
  if (!wanted.path) return makeUserNamespace(section, { uidMappings, gidMappings });
  const fd = section.room();
  section.step(`open user namespace "${wanted.path}"`);
  section.call('openat', [AT_FDCWD, section.text(wanted.path), OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
  return fd;
}

/**
 * A new user namespace, as a descriptor; this process stays where it is. Its ids are mapped by a process outside, as
 * user_namespaces(7) asks for: a child is born in it and shows where it is found, for as long as its maps are written.
 *
 *     parent: clone(CLONE_NEWUSER | CLONE_FILES) ── /proc/self of the child ──▶ uid_map, gid_map, ns/user
 */
export function makeUserNamespace(section: Section, mappings: IdMappings): DataRef {
  const [ready, hold] = [section.room(), section.room()];
  const [child, directory, user] = [section.room(), section.room(), section.room()];
  const born = section.label();
  section.step('make the user namespace');
  section.call('pipe2', [ready, O_CLOEXEC]);
  section.call('pipe2', [hold, O_CLOEXEC]);
  section.call('clone', [SIGCHLD | CLONE.NEWUSER | CLONE.FILES, 0, 0, 0, 0], {
    into: child,
    on: [[0, born]],
  });
  section.later(() => {
    section.place(born);
    // It must not outlive a parent that fails: it is the one that has the pipe open.
    section.call('prctl', [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
    section.call('openat', [AT_FDCWD, section.text('/proc/self'), O_PATH | O_CLOEXEC, 0], {
      into: directory,
    });
    section.call('write', [{ at: writeEnd(ready) }, directory, 8]);
    section.call('read', [{ at: hold }, section.room(), 1]);
    section.call('exit_group', [0]);
  });
  section.call('read', [{ at: ready }, directory, 8]);
  for (const [file, rows] of [
    ['uid_map', mappings.uidMappings],
    ['gid_map', mappings.gidMappings],
  ] as const) {
    const text = Buffer.from(formatIdMap(rows));
    const fd = section.room();
    section.step(`write "${file}" of the user namespace`);
    section.call('openat', [{ at: directory }, section.text(file), OPEN.WRONLY | O_CLOEXEC, 0], { into: fd });
    section.call('write', [{ at: fd }, section.bytes(text), text.length]);
    section.call('close', [{ at: fd }]);
  }
  section.step('open the user namespace');
  section.call('openat', [{ at: directory }, section.text('ns/user'), OPEN.RDONLY | O_CLOEXEC, 0], {
    into: user,
  });
  section.call('write', [{ at: writeEnd(hold) }, section.text('1'), 1]);
  section.call('wait4', [{ at: child }, 0, 0, 0]);
  for (const fd of [ready, writeEnd(ready), hold, writeEnd(hold), directory])
    section.call('close', [{ at: fd }]);
  return user;
}

/** Root of the user namespace that this process has entered, who is nobody in particular outside. */
export function becomeNamespaceRoot(section: Section): void {
  section.step('become root of the user namespace, whose mappings need an id 0');
  section.call('setresgid', [0, 0, 0]);
  section.call('setresuid', [0, 0, 0]);
}
