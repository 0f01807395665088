/** Matches whole names or paths. */
export interface Glob {
  test(text: string): boolean;
}

/** What a state of the automaton takes: the characters it stays with, and those that lead to the next state. */
interface State {
  readonly stays: (char: string) => boolean;
  readonly passes: (char: string) => boolean;
  /** Nothing needs to be taken to be in the next state, or in the one behind it. */
  readonly skips: 0 | 1 | 2;
}

const never = () => false;
const always = () => true;
const isNoSlash = (char: string) => char !== '/';
const isSlash = (char: string) => char === '/';
const one = (passes: State['passes']): State => ({ stays: never, passes, skips: 0 });

/** `**` with a slash: nothing, or any directories. Only its second state has taken something. */
const DIRECTORIES: readonly State[] = [
  { stays: never, passes: never, skips: 2 },
  { stays: always, passes: isSlash, skips: 0 },
];

const TOKENS: readonly (readonly [pattern: RegExp, states: (match: RegExpExecArray) => readonly State[]])[] =
  [
    [/\*\*\//y, () => DIRECTORIES],
    [/\*\*+/y, () => [{ stays: always, passes: never, skips: 1 }]],
    [/\*/y, () => [{ stays: isNoSlash, passes: never, skips: 1 }]],
    [/\?/y, () => [one(isNoSlash)]],
    [/\[(\^?)((?:\\.|[^\]\\])+)\]/suy, ([, negation, text]) => [one(parseSet(text!, negation !== ''))]],
    [/\\(.)/suy, ([, char]) => [one((other) => other === char)]],
    [/./suy, ([char]) => [one((other) => other === char)]],
  ];

/**
 * Go's filepath.Match with `**` for any number of directories, as an automaton: its time grows with the text and the
 * pattern, whatever they are.
 */
export function parseGlob(pattern: string): Glob {
  const states: State[] = [];
  for (let at = 0; at < pattern.length; ) {
    for (const [expression, build] of TOKENS) {
      expression.lastIndex = at;
      const match = expression.exec(pattern);
      if (match === null) continue;
      states.push(...build(match));
      at = expression.lastIndex;
      break;
    }
  }
  return { test: (text) => run(states, text) };
}

function run(states: readonly State[], text: string): boolean {
  let current = new Set<number>();
  enter(states, 0, current);
  for (const char of text) {
    const next = new Set<number>();
    for (const index of current) {
      const state = states[index];
      if (state?.stays(char)) enter(states, index, next);
      if (state?.passes(char)) enter(states, index + 1, next);
    }
    current = next;
  }
  return current.has(states.length);
}

/** Adds a state with those that follow from it. */
function enter(states: readonly State[], index: number, into: Set<number>): void {
  const open = [index];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (into.has(at)) continue;
    into.add(at);
    const skips = states[at]?.skips ?? 0;
    for (let step = 1; step <= skips; step += 1) open.push(at + step);
  }
}

/** The inside of brackets: characters, ranges of them, `\` before one that means itself. */
function parseSet(text: string, isNegated: boolean): (char: string) => boolean {
  const items = [...text.matchAll(/(\\?.)(?:-(\\?.))?/gsu)].map(([, low = '', high = low]) => {
    return { low: low.at(-1)!, high: high.at(-1)! };
  });
  return (char) => items.some(({ low, high }) => char >= low && char <= high) !== isNegated;
}
