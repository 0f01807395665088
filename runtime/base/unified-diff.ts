/** Beyond this many pairs of lines the changed part is shown as replaced, not compared line by line. */
const MAX_PAIRS = 4_000_000;

interface Edit {
  readonly sign: ' ' | '-' | '+';
  readonly line: string;
}

/**
 * The hunks of a unified diff (diff(1), `-u`) with `context` lines around each change, without the two header
 * lines; '' when the texts are equal. The text of a file that is not there is ''.
 */
export function formatUnifiedDiff(before: string, after: string, context = 3): string {
  if (before === after) return '';
  const edits = compareLines(splitLines(before), splitLines(after));
  return findHunks(edits, context)
    .map(([start, end]) => formatHunk(edits, start, end))
    .join('');
}

/** Lines with their line ends; a last line without one says so, as diff(1) does. */
function splitLines(text: string): readonly string[] {
  if (text === '') return [];
  const lines = text.split('\n');
  const last = lines.pop()!;
  return [
    ...lines.map((line) => `${line}\n`),
    ...(last === '' ? [] : [`${last}\n\\ No newline at end of file\n`]),
  ];
}

function compareLines(before: readonly string[], after: readonly string[]): readonly Edit[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  )
    tail += 1;
  const same = (line: string): Edit => ({ sign: ' ', line });
  return [
    ...before.slice(0, head).map(same),
    ...compareMiddle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same),
  ];
}

/** Keeps a longest common subsequence. */
function compareMiddle(before: readonly string[], after: readonly string[]): readonly Edit[] {
  if (before.length * after.length > MAX_PAIRS) {
    return [
      ...before.map((line): Edit => ({ sign: '-', line })),
      ...after.map((line): Edit => ({ sign: '+', line })),
    ];
  }
  const width = after.length + 1;
  const lengths = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        before[i] === after[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
    }
  }
  const edits: Edit[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      edits.push({ sign: ' ', line: before[i]! });
      i += 1;
      j += 1;
    } else if (
      i < before.length &&
      (j === after.length || lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!)
    ) {
      edits.push({ sign: '-', line: before[i]! });
      i += 1;
    } else {
      edits.push({ sign: '+', line: after[j]! });
      j += 1;
    }
  }
  return edits;
}

/** Ranges of edits, changes with their context; ranges that touch are one. */
function findHunks(edits: readonly Edit[], context: number): readonly (readonly [number, number])[] {
  const hunks: [number, number][] = [];
  for (const [index, edit] of edits.entries()) {
    if (edit.sign === ' ') continue;
    const start = Math.max(0, index - context);
    const end = Math.min(edits.length, index + context + 1);
    const last = hunks.at(-1);
    if (last && start <= last[1]) last[1] = end;
    else hunks.push([start, end]);
  }
  return hunks;
}

function formatHunk(edits: readonly Edit[], start: number, end: number): string {
  const count = (rows: readonly Edit[], sign: '-' | '+') =>
    rows.filter((edit) => edit.sign === ' ' || edit.sign === sign).length;
  const rows = edits.slice(start, end);
  const range = (sign: '-' | '+') => {
    const length = count(rows, sign);
    // An empty range names the line before it.
    const first = count(edits.slice(0, start), sign) + (length === 0 ? 0 : 1);
    return length === 1 ? String(first) : `${first},${length}`;
  };
  return `@@ -${range('-')} +${range('+')} @@\n${rows.map((edit) => edit.sign + edit.line).join('')}`;
}
