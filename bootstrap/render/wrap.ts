/** Lines of at most `columns` where words allow it; from the second on indented. */
export function wrap(text: string, indent: number, columns: number, separator: RegExp = / /): string {
  const lines: string[] = [];
  for (const word of text.trimEnd().split(separator)) {
    const last = lines.at(-1);
    const joined = `${last} ${word}`;
    if (last !== undefined && (joined.length <= columns || last.trim() === ''))
      lines[lines.length - 1] = joined;
    else lines.push(last === undefined ? word : `${' '.repeat(indent)}${word}`);
  }
  return lines.join('\n');
}

/** A warning as lines of at most `columns`; the command behind "; fix: " has one of its own, where it can be copied. */
export function formatWarning(text: string, columns = Infinity): string {
  const [said = '', ...fixes] = columns === Infinity ? [text] : text.split('; fix: ');
  return `${wrap(said, 2, columns)}\n${fixes.map((fix) => `  fix: ${fix}\n`).join('')}`;
}
