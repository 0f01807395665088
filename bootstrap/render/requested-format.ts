import type { OutputFormat } from './renderer.ts';

/**
 * The value of -o on a command line, before its flags are parsed: a mistyped flag is reported in that format too.
 * A value that is no format counts as text.
 */
export function requestedFormat(argv: readonly string[]): OutputFormat {
  // Docker's words have another -o, and what stands behind an image is the program's.
  if (argv[0] === 'ctr') return 'text';
  const end = argv.indexOf('--');
  const words = end < 0 ? argv : argv.slice(0, end);
  const formats = words.flatMap((word, index) => {
    const value = /^(?:-o=?|--output=)(.+)$/.exec(word)?.[1];
    return value ?? (word === '-o' || word === '--output' ? (words[index + 1] ?? '') : []);
  });
  const format = formats.at(-1);
  return format === 'json' || format === 'yaml' ? format : 'text';
}
