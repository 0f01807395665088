/** What stands in place of a secret. */
const REDACTED = '<redacted>';

/** Fields whose values are secrets, and values of environment variables, which often are. */
const SECRET_FIELD = /token|certificateKey|secret|password|extraEnvs\[\d+\]\.value/i;
const BOOTSTRAP_TOKEN = /\b[a-z0-9]{6}\.[a-z0-9]{16}\b/g;
/** 32 bytes in hexadecimal, the form of a certificate key; a CA's pin is public. */
const HEX_KEY = /(?<!sha256:)\b[0-9a-fA-F]{64}\b/gi;
/** Fields below a secret name that are no secrets themselves. */
const PUBLIC_FIELD =
  /\.(apiServerEndpoint|caCertHashes|unsafeSkipCAVerification|ttl|expires|usages|groups)\b/;

/** The text without bootstrap tokens and certificate keys. */
export function redactText(text: string): string {
  return text.replace(BOOTSTRAP_TOKEN, REDACTED).replace(HEX_KEY, REDACTED);
}

/** The value of a field as a message may show it. */
export function redactValue(path: string, value: unknown): unknown {
  if (value === undefined || typeof value === 'boolean') return value;
  if (SECRET_FIELD.test(path) && !PUBLIC_FIELD.test(path)) return REDACTED;
  if (typeof value === 'string') return redactText(value);
  if (Array.isArray(value)) return value.map((item, index) => redactValue(`${path}[${index}]`, item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, redactValue(`${path}.${key}`, item)]),
  );
}
