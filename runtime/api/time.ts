/** The instant as metav1.Time: whole seconds, UTC, "2026-01-31T10:20:30Z". */
export function formatTime(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** The instant as metav1.MicroTime: "2026-01-31T10:20:30.123000Z". */
export function formatMicroTime(date: Date): string {
  return date.toISOString().replace('Z', '000Z');
}
