import { dump, loadAll } from 'js-yaml';
import t from 'tap';
import { parseDocuments } from '../../../bootstrap/config/documents.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import { migrateConfiguration } from '../../../bootstrap/config/migrate-command.ts';
import type { ConfigKind } from '../../../bootstrap/config/types.ts';
import { createRandom, type Random } from '../../random.ts';
import { type GeneratedDocument, generateDocuments, SETS } from './generate.ts';

const SEED = 20261121;
const RUNS = 40;
const MACHINE = { hostname: 'node-1', advertiseAddress: '192.0.2.5' };

/** YAML in blocks, YAML in one line, or JSON: all are the same documents. */
function write(random: Random, documents: readonly GeneratedDocument[]): string {
  const styles = [
    (document: GeneratedDocument) => dump(document, { noRefs: true, lineWidth: -1 }),
    (document: GeneratedDocument) => dump(document, { noRefs: true, flowLevel: 1 + random.int(3) }),
    (document: GeneratedDocument) => `${JSON.stringify(document)}\n`,
  ];
  return documents.map((document) => random.pick(styles)(document)).join('---\n');
}

async function load(kind: ConfigKind, text: string) {
  const loaded = await loadConfiguration({ kind, text, defaultsFrom: MACHINE });
  const { bootstrapTokens, ...config } = loaded.config as typeof loaded.config & {
    readonly bootstrapTokens?: readonly unknown[];
  };
  // Without any in the file, one is made of random bytes.
  const hasTokens = /"?bootstrapTokens"?: ?\[?\{|bootstrapTokens:\n/.test(text);
  return { config: { ...config, ...(hasTokens ? { bootstrapTokens } : {}) }, warnings: loaded.warnings };
}

function fieldsOf(text: string): readonly unknown[] {
  return parseDocuments(text).documents.map(({ kind, fields }) => ({ kind, fields }));
}

for (const kinds of SETS) {
  t.test(`random ${kinds[0]} documents survive print, parse and migrate`, async (t) => {
    for (let seed = SEED; seed < SEED + RUNS; seed += 1) {
      const random = createRandom(seed);
      const documents = generateDocuments(random, kinds);
      const text = write(random, documents);
      const first = await load(kinds[0], text).catch((error: Error) => error);
      if (first instanceof Error) {
        t.fail(`seed ${seed}: ${first.message}`, { text });
        continue;
      }
      const migrated = migrateConfiguration(text);
      t.same(migrated.notes, [], `seed ${seed}`);
      t.same(loadAll(migrated.yaml), documents, `seed ${seed}: nothing is lost`);
      t.same(fieldsOf(migrated.yaml), fieldsOf(text));
      t.same(await load(kinds[0], migrated.yaml), first, `seed ${seed}: it means the same`);
      t.equal(migrateConfiguration(migrated.yaml).yaml, migrated.yaml, 'once more changes nothing');
    }
  });
}

for (const kinds of [SETS[0], SETS[1]]) {
  t.test(`random v1beta3 ${kinds[0]} documents mean the same when they are migrated`, async (t) => {
    for (let seed = SEED; seed < SEED + RUNS; seed += 1) {
      const random = createRandom(seed);
      const text = write(random, generateDocuments(random, kinds, 'v1beta3'));
      const first = await load(kinds[0], text).catch((error: Error) => error);
      if (first instanceof Error) {
        t.fail(`seed ${seed}: ${first.message}`, { text });
        continue;
      }
      t.ok(first.warnings.some((warning) => /v1beta3.* is deprecated/.test(warning)));
      const { yaml } = migrateConfiguration(text);
      const again = await load(kinds[0], yaml);
      t.same(again.config, first.config, `seed ${seed}`);
      t.notOk(again.warnings.some((warning) => /deprecated/.test(warning)));
    }
  });
}
