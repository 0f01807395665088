/** Stands for the secret half of a token and for other secrets. */
const HIDDEN = '<redacted>';

/** Texts that are secret by their form alone, with what is left of them. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // Bootstrap tokens: the id is no secret. A dot beside it makes it part of a host name.
  [/(?<![\w.-])([a-z0-9]{6})\.(?!0123456789abcdef)[a-z0-9]{16}(?![\w-]|\.\w)/g, `$1.${HIDDEN}`],
  [
    /(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?!\s*\+?\(secret\))[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g,
    `$1${HIDDEN}$2`,
  ],
  [/\b(bearer) +[\w.~+/=-]+/gi, `$1 ${HIDDEN}`],
  // JSON Web Tokens (RFC 7519): of service accounts.
  [/\beyJ[\w-]{8,}\.[\w-]*\.[\w-]+/g, HIDDEN],
  [/((?:client-key-data|token-secret|password|certificateKey)["']?: *["']?)[^\s"',}]+/g, `$1${HIDDEN}`],
];

/** A shorter one would hide ordinary words. */
const MIN_SECRET_LENGTH = 6;

/** A text without secrets: those of the usual forms, and the `known` ones wherever they stand. */
export function maskSecrets(text: string, known: readonly string[] = []): string {
  let masked = text;
  for (const secret of known) {
    if (secret.length >= MIN_SECRET_LENGTH) masked = masked.replaceAll(secret, HIDDEN);
  }
  for (const [pattern, replacement] of PATTERNS) masked = masked.replace(pattern, replacement);
  return masked;
}

/** The same for every text in a value. */
export function maskDeep(value: unknown, known: readonly string[] = []): unknown {
  if (typeof value === 'string') return maskSecrets(value, known);
  if (Array.isArray(value)) return value.map((item) => maskDeep(item, known));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, maskDeep(item, known)]));
}

const SECRET_FLAGS = ['--token', '--discovery-token', '--tls-bootstrap-token', '--certificate-key'];
const SECRET_VARIABLES = ['TKADM_SSH_PASSWORD'];

/** The secrets that a command was given in flags and environment variables; of a token, its secret half. */
export function listGivenSecrets(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const given = argv.flatMap((word, index) => {
    const [flag = '', value] = word.split(/=(.*)/s);
    return SECRET_FLAGS.includes(flag) ? [value ?? argv[index + 1] ?? ''] : [];
  });
  const secrets = [...given, ...SECRET_VARIABLES.map((name) => env[name] ?? '')];
  return secrets.map((secret) => /^[a-z0-9]{6}\.(.+)$/.exec(secret)?.[1] ?? secret).filter(Boolean);
}
