import type { IncomingHttpHeaders } from 'node:http';
import { StatusError } from '../apiserver/status-error.ts';
import { forbidden } from './forbidden.ts';
import { headersWithPrefix, headerValue, headerValues } from './headers.ts';
import {
  ANONYMOUS_USER,
  AUTHENTICATED_GROUP,
  parseServiceAccountUser,
  serviceAccountGroups,
  UNAUTHENTICATED_GROUP,
} from './names.ts';
import type { AccessAttributes, Authorizer, UserInfo } from './types.ts';

export interface ImpersonationInput {
  readonly user: UserInfo;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders?: readonly string[] | undefined;
  readonly authorizer: Authorizer;
}

type ImpersonationTarget = Pick<
  Extract<AccessAttributes, { kind: 'resource' }>,
  'group' | 'resource' | 'subresource' | 'namespace' | 'name'
>;

const AUTHENTICATION_GROUP = 'authentication.k8s.io';

/**
 * The user that the `Impersonate-*` headers ask for, or `user` itself without such headers. Each part (user or
 * service account, group, uid, extra) needs the verb `impersonate`.
 * @throws StatusError 403 without that permission, 400 for parts without a user
 */
export async function applyImpersonation(input: ImpersonationInput): Promise<UserInfo> {
  const name = headerValue(input, 'impersonate-user');
  const uid = headerValue(input, 'impersonate-uid');
  const groups = impersonatedGroups(input);
  const extra = headersWithPrefix(input, 'impersonate-extra-');
  if (name === '') {
    if (uid === '' && groups.length === 0 && Object.keys(extra).length === 0) return input.user;
    throw new StatusError(400, {
      reason: 'BadRequest',
      message: 'requested impersonation of groups, uid or extra without impersonating a user',
    });
  }
  for (const target of impersonationTargets({ name, uid, groups, extra })) {
    const attributes = {
      user: input.user,
      kind: 'resource',
      verb: 'impersonate',
      version: 'v1',
      ...target,
    } as const;
    const decision = await input.authorizer.authorize(attributes);
    if (!decision.isAllowed) throw forbidden(attributes, decision.reason);
  }
  return {
    name,
    uid: uid === '' ? undefined : uid,
    groups: effectiveGroups(name, groups),
    ...(Object.keys(extra).length > 0 ? { extra } : {}),
  };
}

/** A joined header is split here: every part is checked, so that a comma in a value can only ask for more. */
function impersonatedGroups(input: ImpersonationInput): string[] {
  const values = headerValues(input, 'impersonate-group');
  const groups = input.rawHeaders ? values : values.flatMap((value) => value.split(', '));
  return groups.filter((group) => group !== '');
}

function impersonationTargets(wanted: {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}): ImpersonationTarget[] {
  const target = (resource: string, name: string, group = '', subresource = '') =>
    ({ group, resource, subresource, namespace: '', name }) satisfies ImpersonationTarget;
  const account = parseServiceAccountUser(wanted.name);
  return [
    account
      ? { ...target('serviceaccounts', account.name), namespace: account.namespace }
      : target('users', wanted.name),
    ...wanted.groups.map((name) => target('groups', name)),
    ...(wanted.uid === '' ? [] : [target('uids', wanted.uid, AUTHENTICATION_GROUP)]),
    ...Object.entries(wanted.extra).flatMap(([key, values]) =>
      values.map((value) => target('userextras', value, AUTHENTICATION_GROUP, key)),
    ),
  ];
}

function effectiveGroups(name: string, wanted: readonly string[]): string[] {
  const account = parseServiceAccountUser(name);
  const groups = account && wanted.length === 0 ? [...serviceAccountGroups(account.namespace)] : [...wanted];
  const added = name === ANONYMOUS_USER ? UNAUTHENTICATED_GROUP : AUTHENTICATED_GROUP;
  const isKnown = groups.includes(AUTHENTICATED_GROUP) || groups.includes(UNAUTHENTICATED_GROUP);
  return isKnown ? groups : [...groups, added];
}
