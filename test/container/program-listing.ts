import type { DataRef, Label, Section, Value } from '../../runtime/container/performer/program.ts';

/**
 * A program as text, a line for each call, as strace(1) shows them: addresses of data are "&OFFSET", words that are
 * read "*OFFSET", labels "@NUMBER".
 */
export function listProgram(sections: readonly Section[]): readonly string[] {
  return sections.flatMap((section, index) => [
    `section ${index}`,
    ...section.records.map(({ name, args, options }, number) => {
      const shown = args.map((value) => formatValue(value, sections));
      const call = name === '' ? shown.join(', ') : `${name}(${shown.join(', ')})`;
      const into = options.into === undefined ? '' : ` → ${formatRef(options.into, sections)}`;
      const jumps = (options.on ?? []).map(
        ([result, label]) => ` ${result}: ${formatLabel(label, sections)}`,
      );
      const error = options.onError === undefined ? '' : ` error: ${formatLabel(options.onError, sections)}`;
      return `${String(number).padStart(4)} ${call}${into}${jumps.join('')}${error}`;
    }),
  ]);
}

function formatValue(value: Value, sections: readonly Section[]): string {
  if (typeof value === 'number') return Math.abs(value) > 255 ? `0x${value.toString(16)}` : String(value);
  if (typeof value === 'bigint') return String(value);
  if ('at' in value) return `*${formatRef(value.at, sections)}`;
  if ('sizeOf' in value) return `size of section ${sections.indexOf(value.sizeOf)}`;
  if ('records' in value) return `section ${sections.indexOf(value)}`;
  const text = value.section.readText(value);
  return text === undefined ? `&${formatRef(value, sections)}` : JSON.stringify(text);
}

function formatRef({ section, offset }: DataRef, sections: readonly Section[]): string {
  return `${sections.indexOf(section)}+${offset}`;
}

function formatLabel({ section, index }: Label, sections: readonly Section[]): string {
  return `@${sections.indexOf(section)}.${index}`;
}
