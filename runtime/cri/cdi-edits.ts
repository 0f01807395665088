import { type OciDevice, type OciDeviceRule, resolveDevices } from '../container/host-devices.ts';
import type { OciHooks, OciMount, OciSpec } from '../container/oci-spec.ts';
import type { CdiDeviceNode, CdiEdits } from './cdi.ts';

/**
 * A container's spec with the edits of its CDI devices: variables replace those of the same name, devices come with the
 * rule that lets them be used.
 * @throws CRI_INVALID when the host has no such device.
 */
export async function applyCdiEdits(spec: OciSpec, edits: readonly CdiEdits[]): Promise<OciSpec> {
  if (edits.length === 0) return spec;
  const first = spec.process!;
  const nodes = await Promise.all(edits.flatMap(({ deviceNodes = [] }) => deviceNodes).map(resolveNode));
  const gids = [...(first.user?.additionalGids ?? []), ...edits.flatMap((one) => one.additionalGids ?? [])];
  return {
    ...spec,
    process: {
      ...first,
      env: mergeEnv(
        first.env ?? [],
        edits.flatMap(({ env = [] }) => env),
      ),
      ...(first.user && { user: { ...first.user, additionalGids: [...new Set(gids)] } }),
    },
    mounts: [...(spec.mounts ?? []), ...edits.flatMap(({ mounts = [] }) => mounts).map(buildMount)],
    hooks: mergeHooks(spec.hooks, edits),
    linux: {
      ...spec.linux,
      devices: [...(spec.linux?.devices ?? []), ...nodes.map(({ device }) => device)],
      resources: {
        ...spec.linux?.resources,
        devices: [...(spec.linux?.resources?.devices ?? []), ...nodes.map(({ rule }) => rule)],
      },
    },
  };
}

function mergeHooks(own: OciHooks | undefined, edits: readonly CdiEdits[]): OciHooks {
  const added = edits.flatMap(({ hooks = [] }) => hooks);
  const names = new Set(added.map(({ hookName }) => hookName));
  const lists = [...names].map((name) => {
    const hooks = added.filter(({ hookName }) => hookName === name).map(({ hookName: _, ...hook }) => hook);
    return [name, [...(own?.[name] ?? []), ...hooks]] as const;
  });
  return { ...own, ...Object.fromEntries(lists) };
}

function mergeEnv(own: readonly string[], added: readonly string[]): readonly string[] {
  const byName = [...own, ...added].map((entry) => [entry.split('=', 1)[0] ?? '', entry] as const);
  return [...new Map(byName).values()];
}

/** What the spec leaves out is the host's device's. */
async function resolveNode(
  node: CdiDeviceNode,
): Promise<{ readonly device: OciDevice; readonly rule: OciDeviceRule }> {
  const found = await findNode(node);
  const { path, permissions = 'rwm' } = node;
  const type = (node.type ?? found?.type ?? 'c') as OciDevice['type'];
  const [major, minor] = [node.major ?? found?.major ?? 0, node.minor ?? found?.minor ?? 0];
  const fileMode = node.fileMode ?? found?.fileMode;
  const uid = node.uid ?? found?.uid;
  const gid = node.gid ?? found?.gid;
  const owner = { ...(fileMode !== undefined && { fileMode }), ...(uid !== undefined && { uid }) };
  return {
    device: { path, type, major, minor, ...owner, ...(gid !== undefined && { gid }) },
    rule: { allow: true, type, major, minor, access: permissions },
  };
}

async function findNode({
  path,
  hostPath = path,
  type,
  major,
}: CdiDeviceNode): Promise<OciDevice | undefined> {
  if (type !== undefined && major !== undefined) return undefined;
  const { devices } = await resolveDevices([{ hostPath, containerPath: path, permissions: '' }]);
  return devices[0];
}

function buildMount({
  hostPath,
  containerPath,
  options = [],
  type = 'bind',
}: NonNullable<CdiEdits['mounts']>[number]): OciMount {
  const isBind = type !== 'bind' || options.includes('bind') || options.includes('rbind');
  return {
    destination: containerPath,
    type,
    source: hostPath,
    options: isBind ? options : ['rbind', ...options],
  };
}
