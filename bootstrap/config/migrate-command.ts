import { dump } from 'js-yaml';
import { checkTwice, parseDocuments } from './documents.ts';
import { apiVersionOf } from './kinds.ts';
import { migrateDocuments } from './migrate.ts';
import { convertOldDocument } from './migrate-v1alpha2.ts';
import { configError, formatProblem } from './problems.ts';
import { redactText } from './redact.ts';
import { checkSchema } from './schema-check.ts';

export interface MigratedConfiguration {
  readonly yaml: string;
  /** What was dropped or changed, and why. */
  readonly notes: readonly string[];
}

/**
 * The file's documents in the versions that are read without a warning. Fields stay as they were written, none is
 * added; documents of other groups and fields with defaults are kept; comments are not.
 * @throws CONFIG_INVALID for a field that its version does not have: nothing is lost without a word.
 */
export function migrateConfiguration(text: string, path?: string): MigratedConfiguration {
  const parsed = parseDocuments(text, { readsOld: true, path });
  const converted = parsed.old.map(convertOldDocument);
  const fromOld = converted.flatMap(({ documents }) => documents).map((row) => checkSchema(row));
  const present = parsed.documents.map((row) => checkSchema(row));
  const problems = [
    ...parsed.duplicates,
    ...present.flatMap((result) => result.unknown),
    ...[...fromOld, ...present].flatMap((result) => result.problems),
  ];
  if (problems.length > 0) throw configError(problems);
  const documents = migrateDocuments([...fromOld, ...present].map((result) => result.document));
  checkTwice(documents);
  return {
    yaml: documents
      .map(({ kind, fields }) =>
        dump({ apiVersion: apiVersionOf(kind), kind, ...fields }, { noRefs: true, lineWidth: -1 }),
      )
      .join('---\n'),
    notes: [
      ...converted.flatMap(({ notes }) => notes),
      ...fromOld.flatMap((result) => result.unknown).map((row) => `${formatProblem(row)}; dropped`),
    ].map(redactText),
  };
}
