import t from 'tap';
import { formatApiVersion, RESOURCES } from '../../../runtime/api/resources.ts';
import {
  findType,
  listTypeNames,
  requireType,
  TYPE_TABLES,
  typeOfKind,
} from '../../../runtime/api/schema/registry.ts';
import type { FieldType } from '../../../runtime/api/schema/types.ts';

function refsOf(type: FieldType): string[] {
  if (type.kind === 'ref') return [type.type];
  if (type.kind === 'array') return refsOf(type.items);
  return type.kind === 'map' ? refsOf(type.values) : [];
}

t.test('TYPE_TABLES refer only to types that they have', (t) => {
  for (const table of TYPE_TABLES)
    for (const name of listTypeNames(table))
      for (const field of requireType(name).fields.values())
        for (const ref of refsOf(field.type)) t.ok(findType(ref), `${name}.${field.name}: ${ref}`);
  t.end();
});

t.test('TYPE_TABLES use a protobuf number once in a type', (t) => {
  for (const table of TYPE_TABLES)
    for (const name of listTypeNames(table)) {
      const numbers = [...requireType(name).fields.values()]
        .map(({ numbers }) => numbers.join('.'))
        .filter((text) => text !== '');
      t.equal(new Set(numbers).size, numbers.length, name);
    }
  t.end();
});

t.test('typeOfKind() knows every resource, its list and its subresources with a body', (t) => {
  for (const row of RESOURCES) {
    const apiVersion = formatApiVersion(row);
    t.ok(typeOfKind(apiVersion, row.kind), row.kind);
    if (row.verbs.includes('list')) t.ok(typeOfKind(apiVersion, `${row.kind}List`), `${row.kind}List`);
    for (const { kind, group = row.group, version = row.version } of row.subresources ?? [])
      if (kind && !kind.endsWith('Options'))
        t.ok(typeOfKind(formatApiVersion({ group, version }), kind), `${row.kind}/${kind}`);
  }
  t.equal(typeOfKind('apps/v1', 'DeleteOptions'), 'meta.v1.DeleteOptions');
  t.equal(typeOfKind('example.com/v1', 'Widget'), undefined);
  t.equal(typeOfKind('v1', 'PodSpec'), undefined, 'a type that is no kind');
  t.end();
});

t.test('findType() gives merge keys, list types and defaults', (t) => {
  const containers = requireType('core.v1.PodSpec').fields.get('containers')!;
  t.match(containers, { required: true, mergeKey: 'name', patchStrategies: ['merge'], listType: 'map' });
  const ports = requireType('core.v1.Container').fields.get('ports')!;
  t.strictSame(ports.listMapKeys, ['containerPort', 'protocol']);
  t.equal(requireType('core.v1.ContainerPort').fields.get('protocol')?.defaultValue, 'TCP');
  t.equal(requireType('meta.v1.LabelSelector').isAtomic, true);
  t.equal(findType('core.v1.Nothing'), undefined);
  t.end();
});
