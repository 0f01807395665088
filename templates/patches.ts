import { CORE_SCHEMA, loadAll } from 'js-yaml';
import type { JsonObject } from '../runtime/api/schema/types.ts';
import { formatError, TkadmError } from '../runtime/base/errors.ts';
import type { Host } from '../runtime/base/host.ts';

/** What may be patched, by the first part of a patch file's name. */
const PATCH_TARGETS = [
  { name: 'etcd', type: 'core.v1.Pod' },
  { name: 'kube-apiserver', type: 'core.v1.Pod' },
  { name: 'kube-controller-manager', type: 'core.v1.Pod' },
  { name: 'kube-scheduler', type: 'core.v1.Pod' },
  // No list of this kind merges by a key, so that a strategic patch is a merge patch.
  { name: 'kubeletconfiguration', type: undefined },
  { name: 'corednsdeployment', type: 'apps.v1.Deployment' },
] as const;

export type PatchTarget = (typeof PATCH_TARGETS)[number]['name'];

const PATCH_TYPES = ['strategic', 'merge', 'json'] as const;

export type PatchType = (typeof PATCH_TYPES)[number];

/** One document of a patch file. */
export interface Patch {
  readonly path: string;
  readonly target: PatchTarget;
  /** @throws PATCH_INVALID when it does not apply */
  apply(value: JsonObject): JsonObject;
}

export interface PatchSet {
  /** In the order in which they are applied: by path. */
  readonly patches: readonly Patch[];
  /** Files whose names say no target. */
  readonly skipped: readonly string[];
}

/** Patches of a directory that is not given. */
export const NO_PATCHES: PatchSet = { patches: [], skipped: [] };

/**
 * Reads the patches of a directory and its sub-directories. A file is named
 * `target[suffix][+type].json|yaml`; type is strategic (default), merge or json.
 * @throws PATCH_INVALID for a directory without files, an unknown type, or text that is no YAML.
 */
export async function readPatches(host: Host, directory: string | undefined): Promise<PatchSet> {
  if (directory === undefined) return NO_PATCHES;
  const root = directory.replace(/\/+$/, '');
  if (!(await host.stat(root))) throw invalid(root, 'the directory is not there');
  const paths = await listFiles(host, root);
  const named = paths.map((path) => ({ path, name: parseFileName(path) }));
  // The schema of every kind, by which a strategic patch merges: loaded only for who has patches.
  const { applyPatch } = await import('./apply-patch.ts');
  const patches: Patch[] = [];
  for (const { path, name } of named) {
    if (!name) continue;
    const text = (await host.readFile(path)) ?? '';
    const schema = PATCH_TARGETS.find((row) => row.name === name.target)!.type;
    for (const body of parseBodies(path, text)) {
      patches.push({
        path,
        target: name.target,
        apply: (value) => guard(path, () => applyPatch(value, { type: name.type, body }, schema)),
      });
    }
  }
  return { patches, skipped: named.filter((row) => !row.name).map((row) => row.path) };
}

/**
 * The object with every patch for the target applied.
 * @throws PATCH_INVALID naming the file that does not apply.
 */
export function applyPatches<T extends object>(value: T, target: PatchTarget, { patches }: PatchSet): T {
  return patches
    .filter((patch) => patch.target === target)
    .reduce<JsonObject>((result, patch) => patch.apply(result), structuredClone(value) as JsonObject) as T;
}

function guard<T>(path: string, apply: () => T): T {
  try {
    return apply();
  } catch (error) {
    throw invalid(path, formatError(error), error);
  }
}

async function listFiles(host: Host, directory: string): Promise<readonly string[]> {
  const names = await host.list(directory);
  const nested = await Promise.all(
    names.map(async (name) => {
      const path = `${directory}/${name}`;
      return (await host.stat(path))?.kind === 'directory' ? listFiles(host, path) : [path];
    }),
  );
  return nested.flat().sort();
}

function parseFileName(path: string): { readonly target: PatchTarget; readonly type: PatchType } | undefined {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const targets = PATCH_TARGETS.map((row) => row.name).join('|');
  const match = new RegExp(`^(${targets})([^.+]*)(?:\\+([^.]*))?\\.(json|yaml)$`).exec(name);
  if (!match) return undefined;
  const type = match[3] ?? 'strategic';
  if (!(PATCH_TYPES as readonly string[]).includes(type)) {
    throw invalid(path, `its type "${type}" is none of ${PATCH_TYPES.join(', ')}`);
  }
  return { target: match[1] as PatchTarget, type: type as PatchType };
}

function parseBodies(path: string, text: string): readonly unknown[] {
  try {
    return loadAll(text, { schema: CORE_SCHEMA }).filter((body) => body !== null && body !== undefined);
  } catch (error) {
    throw invalid(path, formatError(error), error);
  }
}

function invalid(path: string, state: string, cause?: unknown): TkadmError {
  return new TkadmError('PATCH_INVALID', `Cannot use patch "${path}": ${state}`, { cause });
}
