/** Types of admissionregistration.v1; parse.ts has the grammar of a line. */
export const ADMISSIONREGISTRATION_TYPES = `
ApplyConfiguration
  expression 1 string

AuditAnnotation
  key! 1 string
  valueExpression! 2 string

ExpressionWarning
  fieldRef! 2 string
  warning! 3 string

JSONPatch
  expression 1 string

MatchCondition
  expression! 2 string
  name! 1 string

MatchResources atomic
  excludeResourceRules 4 [NamedRuleWithOperations] atomic
  matchPolicy 7 string
  namespaceSelector 1 meta.v1.LabelSelector
  objectSelector 2 meta.v1.LabelSelector
  resourceRules 3 [NamedRuleWithOperations] atomic

MutatingAdmissionPolicy kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 MutatingAdmissionPolicySpec

MutatingAdmissionPolicyBinding kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 MutatingAdmissionPolicyBindingSpec

MutatingAdmissionPolicyBindingList kind
  items! 2 [MutatingAdmissionPolicyBinding]
  metadata 1 meta.v1.ListMeta

MutatingAdmissionPolicyBindingSpec
  matchResources 3 MatchResources
  paramRef 2 ParamRef
  policyName 1 string

MutatingAdmissionPolicyList kind
  items! 2 [MutatingAdmissionPolicy]
  metadata 1 meta.v1.ListMeta

MutatingAdmissionPolicySpec
  failurePolicy 5 string
  matchConditions 6 [MatchCondition] map:name patch=merge:name
  matchConstraints 2 MatchResources
  mutations 4 [Mutation] atomic
  paramKind 1 ParamKind
  reinvocationPolicy 7 string
  variables 3 [Variable] atomic

MutatingWebhook
  admissionReviewVersions! 8 [string] atomic
  clientConfig! 2 WebhookClientConfig
  failurePolicy 4 string
  matchConditions 12 [MatchCondition] map:name patch=merge:name
  matchPolicy 9 string
  name! 1 string
  namespaceSelector 5 meta.v1.LabelSelector
  objectSelector 11 meta.v1.LabelSelector
  reinvocationPolicy 10 string
  rules 3 [RuleWithOperations] atomic
  sideEffects! 6 string
  timeoutSeconds? 7 int32

MutatingWebhookConfiguration kind
  metadata 1 meta.v1.ObjectMeta
  webhooks 2 [MutatingWebhook] map:name patch=merge:name

MutatingWebhookConfigurationList kind
  items! 2 [MutatingWebhookConfiguration]
  metadata 1 meta.v1.ListMeta

Mutation
  applyConfiguration 3 ApplyConfiguration
  jsonPatch 4 JSONPatch
  patchType! 2 string

NamedRuleWithOperations atomic
  apiGroups 2.2.1 [string] atomic
  apiVersions 2.2.2 [string] atomic
  operations 2.1 [string] atomic
  resourceNames 1 [string] atomic
  resources 2.2.3 [string] atomic
  scope 2.2.4 string

ParamKind atomic
  apiVersion 1 string
  kind 2 string

ParamRef atomic
  name 1 string
  namespace 2 string
  parameterNotFoundAction 4 string
  selector 3 meta.v1.LabelSelector

RuleWithOperations
  apiGroups 2.1 [string] atomic
  apiVersions 2.2 [string] atomic
  operations 1 [string] atomic
  resources 2.3 [string] atomic
  scope 2.4 string

ServiceReference
  name! 2 string
  namespace! 1 string
  path 3 string
  port? 4 int32

TypeChecking
  expressionWarnings 1 [ExpressionWarning] atomic

ValidatingAdmissionPolicy kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 ValidatingAdmissionPolicySpec
  status 3 ValidatingAdmissionPolicyStatus

ValidatingAdmissionPolicyBinding kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 ValidatingAdmissionPolicyBindingSpec

ValidatingAdmissionPolicyBindingList kind
  items! 2 [ValidatingAdmissionPolicyBinding]
  metadata 1 meta.v1.ListMeta

ValidatingAdmissionPolicyBindingSpec
  matchResources 3 MatchResources
  paramRef 2 ParamRef
  policyName! 1 string
  validationActions! 4 [string] set

ValidatingAdmissionPolicyList kind
  items! 2 [ValidatingAdmissionPolicy]
  metadata 1 meta.v1.ListMeta

ValidatingAdmissionPolicySpec
  auditAnnotations 5 [AuditAnnotation] atomic
  failurePolicy 4 string
  matchConditions 6 [MatchCondition] map:name patch=merge:name
  matchConstraints 2 MatchResources
  paramKind 1 ParamKind
  validations 3 [Validation] atomic
  variables 7 [Variable] map:name patch=merge:name

ValidatingAdmissionPolicyStatus
  conditions 3 [meta.v1.Condition] map:type
  observedGeneration 1 int64
  typeChecking 2 TypeChecking

ValidatingWebhook
  admissionReviewVersions! 8 [string] atomic
  clientConfig! 2 WebhookClientConfig
  failurePolicy 4 string
  matchConditions 11 [MatchCondition] map:name patch=merge:name
  matchPolicy 9 string
  name! 1 string
  namespaceSelector 5 meta.v1.LabelSelector
  objectSelector 10 meta.v1.LabelSelector
  rules 3 [RuleWithOperations] atomic
  sideEffects! 6 string
  timeoutSeconds? 7 int32

ValidatingWebhookConfiguration kind
  metadata 1 meta.v1.ObjectMeta
  webhooks 2 [ValidatingWebhook] map:name patch=merge:name

ValidatingWebhookConfigurationList kind
  items! 2 [ValidatingWebhookConfiguration]
  metadata 1 meta.v1.ListMeta

Validation
  expression! 1 string
  message 2 string
  messageExpression 4 string
  reason 3 string

Variable atomic
  expression! 2 string
  name! 1 string

WebhookClientConfig
  caBundle 2 bytes
  service 1 ServiceReference
  url 3 string
`;
