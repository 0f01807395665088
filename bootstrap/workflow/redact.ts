import type { KubeObject } from '../../runtime/api/kinds.ts';

/** Stands for what must not be shown. */
export const REDACTED = '(secret)';

const PRIVATE_KEY = /(-----BEGIN [A-Z ]*PRIVATE KEY-----\n)[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----)/g;
/** Fields of a kubeconfig that prove who the user is. */
const CREDENTIAL_FIELD = /^(\s*(?:- )?(?:client-key-data|token|password):) *\S.*$/gm;

/** A file's text without private keys and credentials; undefined when none was found in it. */
export function redactText(text: string): string | undefined {
  const redacted = text.replace(PRIVATE_KEY, `$1${REDACTED}\n$2`).replace(CREDENTIAL_FIELD, `$1 ${REDACTED}`);
  return redacted === text ? undefined : redacted;
}

/** An object as it may be shown: a Secret's values are left out. */
export function redactObject(object: KubeObject): KubeObject {
  if (object.kind !== 'Secret') return object;
  const hide = (values: unknown) =>
    Object.fromEntries(Object.keys(values as object).map((key) => [key, REDACTED]));
  const { data, stringData } = object as { readonly data?: unknown; readonly stringData?: unknown };
  return {
    ...object,
    ...(data ? { data: hide(data) } : {}),
    ...(stringData ? { stringData: hide(stringData) } : {}),
  } as KubeObject;
}
