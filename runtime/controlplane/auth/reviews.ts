import type * as authentication from 'kubernetes-types/authentication/v1.d.ts';
import type * as authorization from 'kubernetes-types/authorization/v1.d.ts';
import type { KubeObject } from '../../api/kinds.ts';
import { StatusError } from '../apiserver/status-error.ts';
import type {
  AccessAttributes,
  PolicyRule,
  RequestAuthenticator,
  RuleAuthorizer,
  UserInfo,
} from './types.ts';

/** Answers a review: the object with its `status`; nothing is stored. `namespace` is that of the path. */
export type ReviewHandler = (object: KubeObject, user: UserInfo, namespace: string) => Promise<KubeObject>;

/** One handler for each kind of review. */
export interface ReviewHandlers {
  readonly TokenReview: ReviewHandler;
  readonly SelfSubjectReview: ReviewHandler;
  readonly SubjectAccessReview: ReviewHandler;
  readonly LocalSubjectAccessReview: ReviewHandler;
  readonly SelfSubjectAccessReview: ReviewHandler;
  readonly SelfSubjectRulesReview: ReviewHandler;
}

type AccessSpec = authorization.SubjectAccessReviewSpec | authorization.SelfSubjectAccessReviewSpec;

/** The reviews of authentication.k8s.io/v1 and authorization.k8s.io/v1. */
export function createReviewHandlers(options: {
  readonly authenticator: RequestAuthenticator;
  readonly authorizer: RuleAuthorizer;
}): ReviewHandlers {
  const { authenticator, authorizer } = options;
  async function reviewAccess(object: KubeObject, spec: AccessSpec, user: UserInfo): Promise<KubeObject> {
    const decision = await authorizer.authorize(accessAttributes(object, spec, user));
    const status = {
      allowed: decision.isAllowed,
      ...(decision.reason === '' ? {} : { reason: decision.reason }),
    };
    return answer(object, { status });
  }
  return {
    TokenReview: async (object) => reviewToken(object as authentication.TokenReview, authenticator),
    SelfSubjectReview: async (object, user) => answer(object, { status: { userInfo: formatUserInfo(user) } }),
    SubjectAccessReview: async (object) => {
      const { spec } = object as authorization.SubjectAccessReview;
      return reviewAccess(object, spec, subjectOf(object, spec));
    },
    LocalSubjectAccessReview: async (object, _user, namespace) => {
      const { spec } = object as authorization.LocalSubjectAccessReview;
      if (!spec.resourceAttributes) throw invalid(object, 'spec.resourceAttributes', 'Required value');
      if (spec.resourceAttributes.namespace !== namespace) {
        const value = `Invalid value: "${spec.resourceAttributes.namespace ?? ''}": must match metadata.namespace`;
        throw invalid(object, 'spec.resourceAttributes.namespace', value);
      }
      return reviewAccess(object, spec, subjectOf(object, spec));
    },
    SelfSubjectAccessReview: async (object, user) =>
      reviewAccess(object, (object as authorization.SelfSubjectAccessReview).spec, user),
    SelfSubjectRulesReview: async (object, user) => {
      const namespace = (object as authorization.SelfSubjectRulesReview).spec?.namespace ?? '';
      if (namespace === '') {
        throw new StatusError(400, { reason: 'BadRequest', message: 'no namespace on request' });
      }
      const rules = authorizer.rulesFor(user, namespace);
      return answer(object, {
        status: {
          resourceRules: rules.resourceRules.map(resourceRule),
          nonResourceRules: rules.nonResourceRules.map(({ verbs, nonResourceURLs }) => ({
            verbs,
            nonResourceURLs,
          })),
          incomplete: rules.isIncomplete,
          ...(rules.evaluationError ? { evaluationError: rules.evaluationError } : {}),
        },
      });
    },
  };
}

/** UserInfo as authentication.k8s.io/v1 writes it. */
function formatUserInfo(user: UserInfo): authentication.UserInfo {
  return {
    username: user.name,
    ...(user.uid ? { uid: user.uid } : {}),
    groups: [...user.groups],
    ...(user.extra && Object.keys(user.extra).length > 0
      ? { extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])) }
      : {}),
  };
}

function answer(object: KubeObject, more: object): KubeObject {
  return { ...object, metadata: object.metadata ?? {}, ...more };
}

function reviewToken(review: authentication.TokenReview, authenticator: RequestAuthenticator): KubeObject {
  const token = review.spec?.token ?? '';
  if (token === '')
    throw new StatusError(400, {
      reason: 'BadRequest',
      message: 'token is required for TokenReview in authentication',
    });
  const wanted = review.spec?.audiences;
  try {
    const { user, audiences } = authenticator.authenticateToken(token, wanted?.length ? wanted : undefined);
    const accepted = audiences ?? [];
    const shown = wanted?.length || accepted.length > 0 ? { audiences: [...accepted] } : {};
    return answer(review, { status: { authenticated: true, user: formatUserInfo(user), ...shown } });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return answer(review, { status: { user: {}, error: message } });
  }
}

function resourceRule({ verbs, apiGroups, resources, resourceNames }: PolicyRule): object {
  return { verbs, apiGroups, resources, ...(resourceNames?.length ? { resourceNames } : {}) };
}

function subjectOf(object: KubeObject, spec: authorization.SubjectAccessReviewSpec): UserInfo {
  if (!spec.user && !spec.groups?.length) {
    throw invalid(object, 'spec.user', 'Invalid value: "": at least one of user or group must be specified');
  }
  return { name: spec.user ?? '', uid: spec.uid, groups: spec.groups ?? [], extra: spec.extra };
}

function accessAttributes(
  object: KubeObject,
  spec: AccessSpec | undefined,
  user: UserInfo,
): AccessAttributes {
  const { resourceAttributes, nonResourceAttributes } = spec ?? {};
  if ((resourceAttributes === undefined) === (nonResourceAttributes === undefined)) {
    const detail = 'exactly one of nonResourceAttributes or resourceAttributes must be specified';
    throw invalid(object, 'spec.resourceAttributes', `Invalid value: ${detail}`);
  }
  if (nonResourceAttributes) {
    const { verb = '', path = '' } = nonResourceAttributes;
    return { user, kind: 'path', verb, path };
  }
  const { verb, group, version, resource, subresource, namespace, name } = resourceAttributes ?? {};
  return {
    user,
    kind: 'resource',
    verb: verb ?? '',
    group: group ?? '',
    version: version ?? '*',
    resource: resource ?? '',
    subresource: subresource ?? '',
    namespace: namespace ?? '',
    name: name ?? '',
  };
}

function invalid(object: KubeObject, field: string, message: string): StatusError {
  const group = object.apiVersion?.split('/')[0] ?? '';
  return new StatusError(422, {
    reason: 'Invalid',
    message: `${object.kind}.${group} "" is invalid: ${field}: ${message}`,
    details: { group, kind: object.kind ?? '', causes: [{ reason: 'FieldValueInvalid', message, field }] },
  });
}
