/** Types of authentication.v1; parse.ts has the grammar of a line. */
export const AUTHENTICATION_TYPES = `
BoundObjectReference
  apiVersion 2 string
  kind 1 string
  name 3 string
  uid 4 string

SelfSubjectReview kind
  metadata 1 meta.v1.ObjectMeta
  status 2 SelfSubjectReviewStatus

SelfSubjectReviewStatus
  userInfo 1 UserInfo

TokenRequest kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 TokenRequestSpec
  status 3 TokenRequestStatus

TokenRequestSpec
  audiences 1 [string] atomic
  boundObjectRef 3 BoundObjectReference
  expirationSeconds? 4 int64

TokenRequestStatus
  expirationTimestamp 2 time
  token 1 string

TokenReview kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 TokenReviewSpec
  status 3 TokenReviewStatus

TokenReviewSpec
  audiences 2 [string] atomic
  token! 1 string

TokenReviewStatus
  audiences 4 [string] atomic
  authenticated 1 bool
  error 3 string
  user 2 UserInfo

UserInfo
  extra 4 {[string]}
  groups 3 [string] atomic
  uid 2 string
  username 1 string
`;
