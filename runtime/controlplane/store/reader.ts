import type { Kind, KubeObject } from '../../api/kinds.ts';

/** Synchronous reads of the server's own memory, as of the newest revision; objects must not be changed. */
export interface ObjectReader {
  get<T extends KubeObject>(kind: Kind<T>, name: string, namespace?: string): T | undefined;
  list<T extends KubeObject>(kind: Kind<T>, namespace?: string): readonly T[];
  /** Calls back after every committed change of this kind; returns what ends the subscription. */
  subscribe<T extends KubeObject>(
    kind: Kind<T>,
    onChange: (object: T, type: 'ADDED' | 'MODIFIED' | 'DELETED') => void,
  ): () => void;
}
