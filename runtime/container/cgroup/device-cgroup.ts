import { closeSync, openSync } from 'node:fs';
import { TkadmError } from '../../base/errors.ts';
import { type Libc, LibcError } from '../libc.ts';

/** Commands of bpf(2). */
const COMMAND = { load: 5, attach: 8, detach: 9, openById: 13, query: 16 } as const;
const PROGRAM_TYPE_CGROUP_DEVICE = 15;
const ATTACH_TYPE_DEVICE = 6;
/** Programs above and below stay and are asked too: all of them must allow. */
const ALLOW_MULTI = 2;
/** More than anybody attaches to the cgroup of one container. */
const MAX_PROGRAMS = 64;

/**
 * Makes `program` the only device program of the cgroup v2 directory; programs of directories above stay. Without a
 * program the cgroup's own ones are taken away.
 * @throws CGROUP_WRITE when the kernel refuses
 */
export function setDeviceProgram(libc: Libc, directory: string, program: Buffer | undefined): void {
  const cgroup = openSync(directory, 'r');
  try {
    const earlier = queryPrograms(libc, cgroup);
    if (program !== undefined) attach(libc, cgroup, program);
    for (const id of earlier) detach(libc, cgroup, id);
  } catch (error) {
    if (!(error instanceof LibcError)) throw error;
    throw new TkadmError('CGROUP_WRITE', `Cannot set "devices" of "${directory}": ${error.message}`, {
      cause: error,
    });
  } finally {
    closeSync(cgroup);
  }
}

/** The cgroup keeps the program when its descriptor is closed. */
function attach(libc: Libc, cgroup: number, program: Buffer): void {
  const loaded = load(libc, program);
  try {
    const attributes = buildAttributes({ 0: cgroup, 4: loaded, 8: ATTACH_TYPE_DEVICE, 12: ALLOW_MULTI });
    libc.bpf(COMMAND.attach, attributes, 'attach device program');
  } finally {
    libc.close(loaded);
  }
}

/** `{ u32 prog_type; u32 insn_cnt; u64 insns; u64 license; ... }`; returns a descriptor. */
function load(libc: Libc, program: Buffer): number {
  const license = Buffer.from('Apache-2.0\0');
  const attributes = buildAttributes({ 0: PROGRAM_TYPE_CGROUP_DEVICE, 4: program.length / 8 });
  attributes.writeBigUInt64LE(libc.addressOf(program), 8);
  attributes.writeBigUInt64LE(libc.addressOf(license), 16);
  return libc.bpf(COMMAND.load, attributes, 'load device program');
}

/** `{ u32 target_fd; u32 attach_type; u32 query_flags; u32 attach_flags; u64 prog_ids; u32 prog_cnt; }` */
function queryPrograms(libc: Libc, cgroup: number): readonly number[] {
  const ids = Buffer.alloc(4 * MAX_PROGRAMS);
  const attributes = buildAttributes({ 0: cgroup, 4: ATTACH_TYPE_DEVICE, 24: MAX_PROGRAMS });
  attributes.writeBigUInt64LE(libc.addressOf(ids), 16);
  libc.bpf(COMMAND.query, attributes, 'list device programs');
  return Array.from({ length: attributes.readUInt32LE(24) }, (_, index) => ids.readUInt32LE(4 * index));
}

function detach(libc: Libc, cgroup: number, id: number): void {
  const program = libc.bpf(COMMAND.openById, buildAttributes({ 0: id }), 'open device program');
  try {
    const attributes = buildAttributes({ 0: cgroup, 4: program, 8: ATTACH_TYPE_DEVICE });
    libc.bpf(COMMAND.detach, attributes, 'detach device program');
  } finally {
    libc.close(program);
  }
}

/** A `union bpf_attr` with 32-bit values at byte offsets. */
function buildAttributes(values: Readonly<Record<number, number>>): Buffer {
  const attributes = Buffer.alloc(128);
  for (const [offset, value] of Object.entries(values)) attributes.writeUInt32LE(value, Number(offset));
  return attributes;
}
