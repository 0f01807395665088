import { isIP } from 'node:net';

/** Checks a text; returns what is wrong with it, or undefined. */
export type NameRule = (text: string) => string | undefined;

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const LABEL_1035 = '[a-z]([-a-z0-9]*[a-z0-9])?';
const QUALIFIED = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const VALUE = `(${QUALIFIED})?`;
const CONFIG_KEY = '[-._a-zA-Z0-9]+';

/** "(e.g. 'a',  or 'b', regex used for validation is 'x')", as the API words it. */
function explain(message: string, pattern: string, examples: readonly string[]): string {
  const list = examples.map((example) => `'${example}', `).join(' or ');
  return `${message} (e.g. ${list}regex used for validation is '${pattern}')`;
}

function ruleOf(pattern: string, limit: number, message: string, examples: readonly string[]): NameRule {
  const expression = new RegExp(`^${pattern}$`);
  const text = explain(message, pattern, examples);
  return (value) => {
    if (value.length > limit) return `must be no more than ${limit} characters`;
    return expression.test(value) ? undefined : text;
  };
}

/** A DNS-1123 label: at most 63 characters (RFC 1123 §2.1). */
export const checkDnsLabel = ruleOf(
  LABEL,
  63,
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  ['my-name', '123-abc'],
);

/** A DNS-1123 subdomain: at most 253 characters. */
export const checkDnsSubdomain = ruleOf(
  SUBDOMAIN,
  253,
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  ['example.com'],
);

/** A DNS-1035 label, which starts with a letter (RFC 1035 §2.3.1). */
export const checkDns1035Label = ruleOf(
  LABEL_1035,
  63,
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  ['my-name', 'abc-123'],
);

const checkNamePart = ruleOf(
  QUALIFIED,
  63,
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  ['MyName', 'my.name', '123-abc'],
);

/** A label's value. */
export const checkLabelValue = ruleOf(
  VALUE,
  63,
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  ['MyValue', 'my_value', '12345'],
);

const checkKeyText = ruleOf(
  CONFIG_KEY,
  253,
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
  ['key.name', 'KEY_NAME', 'key-name'],
);

/** A key of a ConfigMap or Secret. */
export const checkConfigKey: NameRule = (text) => {
  if (text === '.' || text === '..') return `must not be '${text}'`;
  if (text.startsWith('..')) return "must not start with '..'";
  return checkKeyText(text);
};

/** A label's key, or the name of an extended resource: "app" or "example.com/app". */
export const checkQualifiedName: NameRule = (text) => {
  const parts = text.split('/');
  if (parts.length > 2)
    return explain(
      "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
      QUALIFIED,
      ['MyName', 'my.name', '123-abc'],
    );
  const name = parts.at(-1)!;
  if (parts.length === 2) {
    if (parts[0] === '') return 'prefix part must be non-empty';
    const problem = checkDnsSubdomain(parts[0]!);
    if (problem) return `prefix part ${problem}`;
  }
  if (name === '') return 'name part must be non-empty';
  const problem = checkNamePart(name);
  return problem?.startsWith('must be') ? `name part ${problem}` : problem;
};

/** A name that only has to fit into a path. */
export const checkPathSegment: NameRule = (text) => {
  if (text === '.' || text === '..') return `may not be '${text}'`;
  const bad = ['/', '%'].find((character) => text.includes(character));
  return bad ? `may not contain '${bad}'` : undefined;
};

/** The name of an IPAddress. */
export const checkIpName: NameRule = (text) => (isIP(text) ? undefined : 'must be a valid IP address');

const ENV_NAME = /^[ -<>-~]+$/;

/** The name of an environment variable: printable ASCII without "=". */
export const checkEnvName: NameRule = (text) => {
  if (ENV_NAME.test(text)) return undefined;
  return "a valid environment variable name must consist only of printable ASCII characters other than '='";
};

/** The name of a port of a pod (RFC 6335 §5.1). */
export const checkPortName: NameRule = (text) => {
  if (text.length > 15) return 'must be no more than 15 characters';
  if (!/^[-a-z0-9]+$/.test(text))
    return 'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)';
  if (!/[a-z]/.test(text)) return 'must contain at least one letter (a-z)';
  if (text.includes('--')) return 'must not contain consecutive hyphens';
  return /^-|-$/.test(text) ? 'must not begin or end with a hyphen' : undefined;
};

/** An IP address of either family. */
export const checkIp: NameRule = (text) =>
  isIP(text) ? undefined : 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
