import { notAcceptable } from './status-errors.ts';

/** How an answer is written; `as` asks for another view of the objects. */
export interface Accepted {
  readonly format: 'json' | 'yaml';
  readonly as: 'object' | 'Table' | 'PartialObjectMetadata';
  /** Discovery: the aggregated form and its version. */
  readonly discovery?: 'v2' | 'v2beta1';
}

const PLAIN: Accepted = { format: 'json', as: 'object' };

/**
 * The forms that an Accept header allows, best first. Protobuf and CBOR are never written: clients that
 * ask for them also take JSON.
 */
export function parseAccept(header: string | undefined): readonly Accepted[] {
  if (header === undefined || header === '' || header === '*/*' || header === 'application/json')
    return [PLAIN];
  return header
    .split(',')
    .map(parseClause)
    .filter((clause) => clause !== undefined)
    .sort((a, b) => b.quality - a.quality)
    .map((clause) => clause.accepted);
}

/**
 * The first form that fits.
 * @throws StatusError 406
 */
export function chooseAccepted(
  header: string | undefined,
  isPossible: (form: Accepted) => boolean,
): Accepted {
  const chosen = parseAccept(header).find(isPossible);
  if (!chosen) throw notAcceptable(['application/json', 'application/yaml']);
  return chosen;
}

/** Only the object itself, as JSON or YAML. */
export function isPlain(form: Accepted): boolean {
  return form.as === 'object';
}

function parseClause(text: string): { readonly quality: number; readonly accepted: Accepted } | undefined {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map(
    rest.map((part) => {
      const equals = part.indexOf('=');
      return [part.slice(0, equals).toLowerCase(), part.slice(equals + 1)] as const;
    }),
  );
  const format = FORMATS[type.toLowerCase()];
  if (!format) return undefined;
  const accepted = parseView(format, parameters);
  return accepted && { quality: Number(parameters.get('q') ?? 1), accepted };
}

const FORMATS: Readonly<Record<string, Accepted['format']>> = {
  'application/json': 'json',
  'application/yaml': 'yaml',
  'application/*': 'json',
  'text/*': 'json',
  'text/plain': 'json',
  'text/html': 'json',
  '*/*': 'json',
};

function parseView(
  format: Accepted['format'],
  parameters: ReadonlyMap<string, string>,
): Accepted | undefined {
  const as = parameters.get('as');
  const group = parameters.get('g');
  const version = parameters.get('v');
  if (as === undefined) return { format, as: 'object' };
  if (as === 'APIGroupDiscoveryList' && group === 'apidiscovery.k8s.io') {
    return version === 'v2' || version === 'v2beta1'
      ? { format, as: 'object', discovery: version }
      : undefined;
  }
  if (group !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1')) return undefined;
  if (as === 'Table') return { format, as: 'Table' };
  if (as.startsWith('PartialObjectMetadata')) return { format, as: 'PartialObjectMetadata' };
  return undefined;
}
