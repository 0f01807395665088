export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

const TOP_LEFT = '\x1b[H';
const CLEAR_LINE_END = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
export const HIDE_CURSOR = '\x1b[?25l';
export const SHOW_CURSOR = '\x1b[?25h';

/**
 * A terminal's screen with this text, by ECMA-48 §8.3. Each line is written over the one that is there, and what is left of that
 * is cleared afterwards: a screen that is cleared first would flicker. Only what has room is shown, as a line that is wrapped, or
 * scrolls the first one away, would be unreadable.
 */
export function formatScreen(text: string, { columns, rows }: ScreenSize): string {
  const lines = text
    .trimEnd()
    .split('\n')
    .slice(0, Math.max(1, rows - 1))
    .map((line) => (line.length > columns ? `${line.slice(0, columns - 1)}…` : line));
  return `${TOP_LEFT}${lines.map((line) => `${line}${CLEAR_LINE_END}\n`).join('')}${CLEAR_BELOW}`;
}
