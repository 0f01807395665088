import type { LooksAt, PreflightEngine } from './finding.ts';

/** What a row looks at with one engine. */
export function formatLooksAt(looksAt: LooksAt, engine: PreflightEngine): string {
  return typeof looksAt === 'string' ? looksAt : looksAt[engine];
}
