/** Types of authorization.v1; parse.ts has the grammar of a line. */
export const AUTHORIZATION_TYPES = `
FieldSelectorAttributes
  rawSelector 1 string
  requirements 2 [meta.v1.FieldSelectorRequirement] atomic

LabelSelectorAttributes
  rawSelector 1 string
  requirements 2 [meta.v1.LabelSelectorRequirement] atomic

LocalSubjectAccessReview kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 SubjectAccessReviewSpec
  status 3 SubjectAccessReviewStatus

NonResourceAttributes
  path 1 string
  verb 2 string

NonResourceRule
  nonResourceURLs 2 [string] atomic
  verbs! 1 [string] atomic

ResourceAttributes
  fieldSelector 8 FieldSelectorAttributes
  group 3 string
  labelSelector 9 LabelSelectorAttributes
  name 7 string
  namespace 1 string
  resource 5 string
  subresource 6 string
  verb 2 string
  version 4 string

ResourceRule
  apiGroups 2 [string] atomic
  resourceNames 4 [string] atomic
  resources 3 [string] atomic
  verbs! 1 [string] atomic

SelfSubjectAccessReview kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 SelfSubjectAccessReviewSpec
  status 3 SubjectAccessReviewStatus

SelfSubjectAccessReviewSpec
  nonResourceAttributes 2 NonResourceAttributes
  resourceAttributes 1 ResourceAttributes

SelfSubjectRulesReview kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 SelfSubjectRulesReviewSpec
  status 3 SubjectRulesReviewStatus

SelfSubjectRulesReviewSpec
  namespace 1 string

SubjectAccessReview kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 SubjectAccessReviewSpec
  status 3 SubjectAccessReviewStatus

SubjectAccessReviewSpec
  extra 5 {[string]}
  groups 4 [string] atomic
  nonResourceAttributes 2 NonResourceAttributes
  resourceAttributes 1 ResourceAttributes
  uid 6 string
  user 3 string

SubjectAccessReviewStatus
  allowed! 1 bool
  denied 4 bool
  evaluationError 3 string
  reason 2 string

SubjectRulesReviewStatus
  evaluationError 4 string
  incomplete! 3 bool
  nonResourceRules! 2 [NonResourceRule] atomic
  resourceRules! 1 [ResourceRule] atomic
`;
