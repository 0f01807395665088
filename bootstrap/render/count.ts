/** "1 change", "3 changes": a number with its noun. */
export function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** What a dry run has found, as its last line. */
export function formatDryRunEnd(changes: number): string {
  return changes === 0
    ? 'Dry run: nothing would change\n'
    : `Dry run: ${formatCount(changes, 'change')} would be made; nothing was changed\n`;
}
