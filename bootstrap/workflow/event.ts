import type { Action } from './action.ts';

/** What a run tells its renderer; also the lines of `-o json`. */
export type WorkflowEvent =
  | { readonly type: 'phase-started'; readonly phase: string; readonly summary: string }
  | {
      readonly type: 'action';
      readonly phase: string;
      readonly action: Action;
      readonly isDryRun: boolean;
      /** In a dry run: a unified diff or YAML of what would change, without secrets. */
      readonly preview?: string;
    }
  | {
      /** A wait or a look goes on. */
      readonly type: 'progress';
      readonly phase: string;
      readonly message: string;
      readonly elapsedMs: number;
      /** Of a wait. */
      readonly timeoutMs?: number;
    }
  | {
      readonly type: 'phase-done';
      readonly phase: string;
      readonly durationMs: number;
      readonly changes: number;
      /** Of a phase that had nothing to do: what that means, such as "Already there". */
      readonly state?: string;
    }
  | { readonly type: 'phase-skipped'; readonly phase: string }
  | { readonly type: 'phase-failed'; readonly phase: string; readonly message: string }
  | { readonly type: 'note'; readonly level: 'info' | 'warning'; readonly message: string };
