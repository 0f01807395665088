import { dump } from 'js-yaml';

/** YAML text of a value: keys sorted, lists indented, long lines kept whole. */
export function renderYaml(value: unknown): string {
  return dump(value, { sortKeys: true, noRefs: true, lineWidth: -1, skipInvalid: true });
}
