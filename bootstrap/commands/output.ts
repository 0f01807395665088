import { dump } from 'js-yaml';
import type { CliContext } from './context.ts';

/** Writes a result as JSON, as YAML or as the text for people. */
export function writeData(context: CliContext, format: string, data: unknown, text: string): void {
  if (format === 'json') context.write(`${JSON.stringify(data)}\n`);
  else if (format === 'yaml') context.write(dump(data));
  else context.write(text);
}
