import type { AccessAttributes, PolicyRule } from '../types.ts';

const ALL = '*';

/** True when this one rule allows the request (RBAC `RuleAllows`). */
export function ruleAllows(rule: PolicyRule, attributes: AccessAttributes): boolean {
  if (!hasOrAll(rule.verbs, attributes.verb)) return false;
  if (attributes.kind === 'path')
    return rule.nonResourceURLs?.some((url) => urlCovers(url, attributes.path)) ?? false;
  const { group, resource, subresource, name } = attributes;
  return (
    hasOrAll(rule.apiGroups ?? [], group) &&
    resourceMatches(rule.resources ?? [], resource, subresource) &&
    (!rule.resourceNames?.length || rule.resourceNames.includes(name))
  );
}

function hasOrAll(values: readonly string[], wanted: string): boolean {
  return values.includes(wanted) || values.includes(ALL);
}

/** "*" is everything with its subresources, "pods/log" one subresource, and "*" + "/scale" that subresource of all. */
function resourceMatches(resources: readonly string[], resource: string, subresource: string): boolean {
  if (resources.includes(ALL)) return true;
  if (subresource === '') return resources.includes(resource);
  return resources.includes(`${resource}/${subresource}`) || resources.includes(`*/${subresource}`);
}

/** "/healthz" alone, "/api/*" everything that starts so, "*" everything. */
function urlCovers(url: string, path: string): boolean {
  return url === path || (url.endsWith(ALL) && path.startsWith(url.slice(0, -1)));
}

/**
 * The simple rules (one verb, group, resource, name each) of `wanted` that `owned` does not cover: what a user
 * would gain by granting them. [] when there is no escalation.
 */
export function uncoveredRules(owned: readonly PolicyRule[], wanted: readonly PolicyRule[]): PolicyRule[] {
  return wanted.flatMap(breakDown).filter((simple) => !owned.some((rule) => covers(rule, simple)));
}

function breakDown(rule: PolicyRule): PolicyRule[] {
  const simple: PolicyRule[] = [];
  for (const verb of rule.verbs) {
    for (const group of rule.apiGroups ?? []) {
      for (const resource of rule.resources ?? []) {
        const base = { verbs: [verb], apiGroups: [group], resources: [resource] };
        if (!rule.resourceNames?.length) simple.push(base);
        else for (const name of rule.resourceNames) simple.push({ ...base, resourceNames: [name] });
      }
    }
    for (const url of rule.nonResourceURLs ?? []) simple.push({ verbs: [verb], nonResourceURLs: [url] });
  }
  return simple;
}

function covers(rule: PolicyRule, simple: PolicyRule): boolean {
  if (!hasOrAll(rule.verbs, simple.verbs[0]!)) return false;
  const url = simple.nonResourceURLs?.[0];
  if (url !== undefined) return rule.nonResourceURLs?.some((owned) => urlCovers(owned, url)) ?? false;
  const [resource = '', subresource = ''] = simple.resources![0]!.split('/');
  const name = simple.resourceNames?.[0];
  return (
    hasOrAll(rule.apiGroups ?? [], simple.apiGroups![0]!) &&
    resourceMatches(rule.resources ?? [], resource, subresource) &&
    (!rule.resourceNames?.length || (name !== undefined && rule.resourceNames.includes(name)))
  );
}

/** `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`, as upstream's messages show a rule. */
export function formatRule(rule: PolicyRule): string {
  const parts = [
    ['NonResourceURLs', rule.nonResourceURLs],
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['ResourceNames', rule.resourceNames],
    ['Verbs', rule.verbs],
  ] as const;
  const shown = parts.flatMap(([name, values]) =>
    values?.length ? [`${name}:[${values.map((value) => JSON.stringify(value)).join(' ')}]`] : [],
  );
  return `{${shown.join(', ')}}`;
}

/** Joins simple rules that differ in their verb alone, for messages. */
export function compactRules(rules: readonly PolicyRule[]): PolicyRule[] {
  const byTarget = new Map<string, { rule: PolicyRule; verbs: string[] }>();
  for (const rule of rules) {
    const { verbs, ...target } = rule;
    const key = JSON.stringify(target);
    const found = byTarget.get(key);
    if (found) found.verbs.push(...verbs);
    else byTarget.set(key, { rule, verbs: [...verbs] });
  }
  return [...byTarget.values()].map(({ rule, verbs }) => ({ ...rule, verbs }));
}
