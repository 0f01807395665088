import { dump } from 'js-yaml';
import { parseDocuments } from './documents.ts';
import { apiVersionOf } from './kinds.ts';
import { migrateDocuments } from './migrate.ts';

/**
 * The file's documents in the versions that are read without a warning: YAML. Fields stay as they were
 * written; other programs' documents are kept.
 * @throws CONFIG_INVALID
 */
export function migrateConfiguration(text: string): string {
  return migrateDocuments(parseDocuments(text, true).documents)
    .map(({ kind, fields }) => dump({ apiVersion: apiVersionOf(kind), kind, ...fields }, { noRefs: true }))
    .join('---\n');
}
