import { dump } from 'js-yaml';
import { type Action, formatAction } from '../workflow/action.ts';

/** What an action would do, with the content it would write unless that is secret. */
export function formatDryRunAction(action: Action): string {
  const line = `would ${formatAction(action)}`;
  if (action.kind === 'write-file') {
    return action.secret ? `${line} (content is secret)` : `${line}\n${indent(action.content)}`;
  }
  if (action.kind === 'apply-object') {
    return action.object.kind === 'Secret'
      ? `${line} (content is secret)`
      : `${line}\n${indent(dump(action.object))}`;
  }
  return line;
}

function indent(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}
