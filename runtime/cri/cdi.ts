import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { formatError, TkadmError } from '../base/errors.ts';

/** Where device vendors put their specs; the later directory wins (CDI SPEC.md). */
export const CDI_DIRECTORIES = ['/etc/cdi', '/var/run/cdi'] as const;

/** "vendor.com/class=device" */
const NAME = /^([A-Za-z][\w.-]*[A-Za-z0-9]\/[A-Za-z][\w.-]*)=([\w.:-]+)$/;
const HOOK_NAMES = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;
export type CdiHookName = (typeof HOOK_NAMES)[number];

/** How a container changes for a device: containerEdits of CDI 0.3 to 1.0. */
export interface CdiEdits {
  readonly env?: readonly string[];
  readonly deviceNodes?: readonly CdiDeviceNode[];
  readonly mounts?: readonly {
    readonly hostPath: string;
    readonly containerPath: string;
    readonly options?: readonly string[];
    readonly type?: string;
  }[];
  readonly hooks?: readonly {
    readonly hookName: CdiHookName;
    readonly path: string;
    readonly args?: readonly string[];
    readonly env?: readonly string[];
    readonly timeout?: number;
  }[];
  readonly additionalGids?: readonly number[];
}

export interface CdiDeviceNode {
  readonly path: string;
  readonly hostPath?: string;
  readonly type?: string;
  readonly major?: number;
  readonly minor?: number;
  readonly fileMode?: number;
  readonly permissions?: string;
  readonly uid?: number;
  readonly gid?: number;
}

interface CdiSpec {
  readonly cdiVersion: string;
  /** "vendor.com/class" */
  readonly kind: string;
  readonly devices: readonly { readonly name: string; readonly containerEdits: CdiEdits }[];
  readonly containerEdits?: CdiEdits;
}

interface FoundSpec {
  readonly path: string;
  readonly spec: CdiSpec;
}

/** Fields of containerEdits that are followed; any other is refused by name. */
const EDIT_FIELDS = ['env', 'deviceNodes', 'mounts', 'hooks', 'additionalGids'];

/**
 * The edits for the devices that CRI asks for: those of each spec once, then those of each device, in order. A device in
 * two directories is the later one's; one in two files of a directory is nobody's.
 * @throws CRI_INVALID when a device or a spec is not usable, UNSUPPORTED for an edit that is not known
 */
export async function resolveCdi(
  names: readonly string[],
  directories: readonly string[] = CDI_DIRECTORIES,
): Promise<readonly CdiEdits[]> {
  if (names.length === 0) return [];
  const levels = await Promise.all(directories.toReversed().map(readSpecs));
  const specs = new Set<CdiSpec>();
  const devices: CdiEdits[] = [];
  for (const name of new Set(names)) {
    const [, kind = '', device = ''] = NAME.exec(name) ?? [];
    if (kind === '') throw invalid(name, 'it is no name of the form "vendor.com/class=device"');
    const found = findDevice(name, levels, { kind, device });
    specs.add(found.spec);
    devices.push(found.edits);
  }
  return [...[...specs].flatMap(({ containerEdits }) => containerEdits ?? []), ...devices];
}

function findDevice(
  name: string,
  levels: readonly (readonly FoundSpec[])[],
  { kind, device }: { readonly kind: string; readonly device: string },
): { readonly spec: CdiSpec; readonly edits: CdiEdits } {
  for (const level of levels) {
    const matches = level.flatMap(({ spec, path }) =>
      spec.kind === kind
        ? spec.devices
            .filter((one) => one.name === device)
            .map((one) => ({ spec, path, edits: one.containerEdits }))
        : [],
    );
    const [first, second] = matches;
    if (second !== undefined) throw invalid(name, `it is in "${first?.path}" and in "${second.path}"`);
    if (first === undefined) continue;
    for (const edits of [first.edits, first.spec.containerEdits]) checkEdits(name, edits ?? {});
    return first;
  }
  throw invalid(name, 'no CDI spec has it');
}

function checkEdits(name: string, edits: CdiEdits): void {
  const unknown = Object.keys(edits).find((field) => !EDIT_FIELDS.includes(field));
  if (unknown !== undefined) {
    throw new TkadmError('UNSUPPORTED', `Cannot give CDI device "${name}": "containerEdits.${unknown}"`);
  }
  const hook = edits.hooks?.find(({ hookName }) => !HOOK_NAMES.includes(hookName));
  if (hook !== undefined) throw invalid(name, `hook "${hook.hookName}" is unknown`);
}

/** The specs of a directory; one that cannot be read is an error, since it may be the one that is meant. */
async function readSpecs(directory: string): Promise<readonly FoundSpec[]> {
  const names = (await readdir(directory).catch(() => [])).filter((name) => /\.(json|yaml|yml)$/.test(name));
  return Promise.all(names.sort().map((name) => readSpec(join(directory, name))));
}

async function readSpec(path: string): Promise<FoundSpec> {
  const fail = (state: string) => new TkadmError('CRI_INVALID', `Cannot use CDI spec "${path}": ${state}`);
  let spec: Partial<CdiSpec> | null;
  try {
    spec = load(await readFile(path, 'utf8')) as Partial<CdiSpec> | null;
  } catch (error) {
    throw fail(formatError(error));
  }
  if (typeof spec?.cdiVersion !== 'string' || typeof spec.kind !== 'string' || !Array.isArray(spec.devices)) {
    throw fail('it needs "cdiVersion", "kind" and "devices"');
  }
  return { path, spec: spec as CdiSpec };
}

function invalid(name: string, state: string): TkadmError {
  return new TkadmError('CRI_INVALID', `Cannot give CDI device "${name}" to a container: ${state}`);
}
