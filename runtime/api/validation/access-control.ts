import { isDeepStrictEqual } from 'node:util';
import { getObject, getObjects, getString, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Findings, invalid, notSupported, required } from './field-error.ts';
import { immutable } from './metadata.ts';
import { checkPathSegment } from './names.ts';
import { validateChoice } from './resources.ts';

const GROUP = 'rbac.authorization.k8s.io';

function* validateRule(rule: JsonObject, field: string, isNamespaced: boolean): Findings {
  if (getStrings(rule, 'verbs').length === 0)
    yield required(`${field}.verbs`, 'verbs must contain at least one value');
  const urls = getStrings(rule, 'nonResourceURLs');
  if (urls.length > 0) {
    if (isNamespaced)
      yield invalid(`${field}.nonResourceURLs`, urls, 'namespaced rules cannot apply to non-resource URLs');
    if (getStrings(rule, 'apiGroups').length + getStrings(rule, 'resources').length > 0)
      yield invalid(
        `${field}.nonResourceURLs`,
        urls,
        'rules cannot apply to both regular resources and non-resource URLs',
      );
    return;
  }
  if (getStrings(rule, 'apiGroups').length === 0)
    yield required(`${field}.apiGroups`, 'resource rules must supply at least one api group');
  if (getStrings(rule, 'resources').length === 0)
    yield required(`${field}.resources`, 'resource rules must supply at least one resource');
}

/** Findings about a Role or ClusterRole. */
export function* validateRole(object: JsonObject): Findings {
  const isNamespaced = object['kind'] === 'Role';
  for (const [index, rule] of getObjects(object, 'rules').entries())
    yield* validateRule(rule, `rules[${index}]`, isNamespaced);
}

const SUBJECT_GROUPS: Readonly<Record<string, string>> = { ServiceAccount: '', User: GROUP, Group: GROUP };

function* validateSubject(subject: JsonObject, field: string, isNamespaced: boolean): Findings {
  const kind = getString(subject, 'kind');
  if (!getString(subject, 'name')) yield required(`${field}.name`);
  const group = SUBJECT_GROUPS[kind];
  if (group === undefined) yield notSupported(`${field}.kind`, kind, Object.keys(SUBJECT_GROUPS));
  else if (getString(subject, 'apiGroup') !== group)
    yield notSupported(`${field}.apiGroup`, getString(subject, 'apiGroup'), [group]);
  if (kind === 'ServiceAccount' && !isNamespaced && !getString(subject, 'namespace'))
    yield required(`${field}.namespace`);
}

/** Findings about a RoleBinding or ClusterRoleBinding. */
export function* validateBinding(object: JsonObject, old: JsonObject | undefined): Findings {
  const isNamespaced = object['kind'] === 'RoleBinding';
  const role = getObject(object, 'roleRef') ?? {};
  if (getString(role, 'apiGroup') !== GROUP)
    yield notSupported('roleRef.apiGroup', getString(role, 'apiGroup'), [GROUP]);
  const kinds = isNamespaced ? ['ClusterRole', 'Role'] : ['ClusterRole'];
  yield* validateChoice(getString(role, 'kind'), 'roleRef.kind', kinds);
  const name = getString(role, 'name');
  const problem = name ? checkPathSegment(name) : undefined;
  if (!name) yield required('roleRef.name');
  if (problem) yield invalid('roleRef.name', name, problem);
  for (const [index, subject] of getObjects(object, 'subjects').entries())
    yield* validateSubject(subject, `subjects[${index}]`, isNamespaced);
  if (old && !isDeepStrictEqual(object['roleRef'], old['roleRef']))
    yield invalid('roleRef', object['roleRef'], 'cannot change roleRef');
}

const USAGES: readonly string[] = [
  'any',
  'cert sign',
  'client auth',
  'code signing',
  'content commitment',
  'crl sign',
  'data encipherment',
  'decipher only',
  'digital signature',
  'email protection',
  'encipher only',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'key agreement',
  'key encipherment',
  'microsoft sgc',
  'netscape sgc',
  'ocsp signing',
  's/mime',
  'server auth',
  'signing',
  'timestamping',
];

const PEM_REQUEST =
  /^\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----[\s\S]+-----END (NEW )?CERTIFICATE REQUEST-----\s*$/;

function* validateRequestSpec(spec: JsonObject): Findings {
  const pem = Buffer.from(getString(spec, 'request'), 'base64').toString('latin1');
  if (!PEM_REQUEST.test(pem))
    yield invalid('spec.request', getString(spec, 'request'), 'PEM block type must be CERTIFICATE REQUEST');
  const usages = getStrings(spec, 'usages');
  if (usages.length === 0) yield required('spec.usages', 'usages is required');
  for (const [index, usage] of usages.entries())
    yield* validateChoice(usage, `spec.usages[${index}]`, USAGES);
  const signer = getString(spec, 'signerName');
  if (!signer) yield required('spec.signerName');
  else if (!/^[^/.]+(\.[^/.]+)+\/.+$/.test(signer))
    yield invalid(
      'spec.signerName',
      signer,
      'must be a fully qualified domain and path of the form "example.com/signer-name"',
    );
  const seconds = spec['expirationSeconds'];
  if (typeof seconds === 'number' && seconds < 600)
    yield invalid(
      'spec.expirationSeconds',
      seconds,
      'may not specify a duration less than 600 seconds (10 minutes)',
    );
}

/** Findings about a CertificateSigningRequest. */
export function* validateSigningRequest(object: JsonObject, old: JsonObject | undefined): Findings {
  yield* validateRequestSpec(getObject(object, 'spec') ?? {});
  if (old && !isDeepStrictEqual(object['spec'], old['spec'])) yield immutable('spec', object['spec']);
}
