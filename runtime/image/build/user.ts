import { invalid } from '../dockerfile.ts';
import type { MergedTree } from '../merged-tree.ts';

/**
 * "user", "uid", "user:group" by the image's own /etc/passwd and /etc/group.
 * @throws DOCKERFILE_INVALID for a name that these do not have.
 */
export async function findUser(
  tree: MergedTree,
  text: string,
  line: number,
): Promise<{ readonly uid: number; readonly gid: number }> {
  const [user = '', group] = text.split(':');
  const passwd = await readTable(tree, '/etc/passwd');
  const row = passwd.find((fields) => fields[0] === user);
  const uid = /^\d+$/.test(user) ? Number(user) : Number(row?.[2] ?? Number.NaN);
  if (Number.isNaN(uid)) throw invalid(line, `the user "${user}", who is not in the image's /etc/passwd`);
  if (group === undefined) return { uid, gid: /^\d+$/.test(user) ? uid : Number(row?.[3] ?? uid) };
  const found = (await readTable(tree, '/etc/group')).find((fields) => fields[0] === group);
  const gid = /^\d+$/.test(group) ? Number(group) : Number(found?.[2] ?? Number.NaN);
  if (Number.isNaN(gid)) throw invalid(line, `the group "${group}", which is not in the image's /etc/group`);
  return { uid, gid };
}

async function readTable(tree: MergedTree, path: string): Promise<readonly (readonly string[])[]> {
  return ((await tree.readText(path)) ?? '').split('\n').map((line) => line.split(':'));
}
