import type { KubeObject } from '../../runtime/api/kinds.ts';
import type { Host } from '../../runtime/base/host.ts';
import { formatUnifiedDiff } from '../../runtime/base/unified-diff.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { type Action, formatObject } from './action.ts';
import { selectCovered } from './objects.ts';
import { REDACTED, redactObject, redactText } from './redact.ts';

/**
 * What an action would change, without secrets: a unified diff of a file against what is there, the YAML of a
 * new object, or the diff of one that is there. undefined for other actions.
 */
export async function previewAction(
  action: Action,
  host: Pick<Host, 'readFile' | 'stat'>,
): Promise<string | undefined> {
  switch (action.kind) {
    case 'write-file':
      return action.isCopy ? undefined : previewFile(action, host);
    case 'write-files':
      return (await Promise.all(action.files.map((file) => previewFile(file, host)))).join('');
    case 'apply-object':
      return previewObject(action.object, action.object, action.live);
    case 'patch-object':
      return previewObject(action.object, action.patch, action.live);
    default:
      return undefined;
  }
}

async function previewFile(
  { path, mode, content, secret = false }: Extract<Action, { kind: 'write-file' }>,
  host: Pick<Host, 'readFile' | 'stat'>,
): Promise<string> {
  const [before, stat] = await Promise.all([host.readFile(path), host.stat(path)]);
  const shown = (text: string) =>
    redactText(text) ?? (secret ? `${REDACTED}, ${Buffer.byteLength(text)} bytes\n` : text);
  const from = before === undefined ? '/dev/null' : `${path} (mode ${formatMode(stat?.mode ?? 0)})`;
  const hunks = formatUnifiedDiff(before === undefined ? '' : shown(before), shown(content));
  const header = `--- ${from}\n+++ ${path} (mode ${formatMode(mode)})\n`;
  const isHidden = hunks === '' && before !== content;
  return `${header}${isHidden ? `${REDACTED}: only secret parts differ\n` : hunks}`;
}

function previewObject(object: KubeObject, wanted: unknown, live: KubeObject | undefined): string {
  if (!live) return renderYaml(redactObject({ ...object, ...(wanted as object) } as KubeObject));
  const before = renderYaml(redactObject(selectCovered(live, wanted) as KubeObject));
  const after = renderYaml(redactObject(wanted as KubeObject));
  const title = formatObject(object);
  const hunks = formatUnifiedDiff(before, after);
  return `--- ${title} (live)\n+++ ${title}\n${hunks === '' ? `${REDACTED}: only secret parts differ\n` : hunks}`;
}

function formatMode(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
