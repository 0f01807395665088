import { type Action, formatAction } from '../workflow/action.ts';

/** What an action would do, and below it what would change. */
export function formatDryRunAction(action: Action, preview: string | undefined): string {
  return formatDryRun(formatAction(action), preview);
}

/** The same of an action that was told in words. */
export function formatDryRun(summary: string, preview: string | undefined): string {
  const line = `would ${summary}`;
  return preview === undefined ? line : `${line}\n${indent(preview)}`;
}

function indent(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line}`.trimEnd())
    .join('\n');
}
