import { dump } from 'js-yaml';
import type { CliContext } from './context.ts';

export type DocumentFormat = 'text' | 'json' | 'yaml';

/** Writes a result as JSON, as YAML or as the text for people. */
export function writeData(context: CliContext, format: string, data: unknown, text: string): void {
  writeDocuments(context, format, [data], text);
}

/** Writes one document after the other: lines of JSON, or YAML between "---". */
export function writeDocuments(
  context: CliContext,
  format: string,
  documents: readonly unknown[],
  text: string,
): void {
  if (format === 'json') context.write(documents.map((row) => `${JSON.stringify(row)}\n`).join(''));
  else if (format === 'yaml')
    context.write(documents.map((row) => dump(row, { noRefs: true, skipInvalid: true })).join('---\n'));
  else context.write(text);
}
