/** Types of flowcontrol.v1; parse.ts has the grammar of a line. */
export const FLOWCONTROL_TYPES = `
ExemptPriorityLevelConfiguration
  lendablePercent? 2 int32
  nominalConcurrencyShares? 1 int32

FlowDistinguisherMethod
  type! 1 string

FlowSchema kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 FlowSchemaSpec
  status 3 FlowSchemaStatus

FlowSchemaCondition
  lastTransitionTime 3 time
  message 5 string
  reason 4 string
  status 2 string
  type 1 string

FlowSchemaList kind
  items! 2 [FlowSchema]
  metadata 1 meta.v1.ListMeta

FlowSchemaSpec
  distinguisherMethod 3 FlowDistinguisherMethod
  matchingPrecedence 2 int32
  priorityLevelConfiguration! 1 PriorityLevelConfigurationReference
  rules 4 [PolicyRulesWithSubjects] atomic

FlowSchemaStatus
  conditions 1 [FlowSchemaCondition] map:type patch=merge:type

GroupSubject
  name! 1 string

LimitResponse
  queuing 2 QueuingConfiguration
  type! 1 string

LimitedPriorityLevelConfiguration
  borrowingLimitPercent? 4 int32
  lendablePercent? 3 int32
  limitResponse 2 LimitResponse
  nominalConcurrencyShares? 1 int32

NonResourcePolicyRule
  nonResourceURLs! 6 [string] set
  verbs! 1 [string] set

PolicyRulesWithSubjects
  nonResourceRules 3 [NonResourcePolicyRule] atomic
  resourceRules 2 [ResourcePolicyRule] atomic
  subjects! 1 [Subject] atomic

PriorityLevelConfiguration kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 PriorityLevelConfigurationSpec
  status 3 PriorityLevelConfigurationStatus

PriorityLevelConfigurationCondition
  lastTransitionTime 3 time
  message 5 string
  reason 4 string
  status 2 string
  type 1 string

PriorityLevelConfigurationList kind
  items! 2 [PriorityLevelConfiguration]
  metadata 1 meta.v1.ListMeta

PriorityLevelConfigurationReference
  name! 1 string

PriorityLevelConfigurationSpec
  exempt 3 ExemptPriorityLevelConfiguration
  limited 2 LimitedPriorityLevelConfiguration
  type! 1 string

PriorityLevelConfigurationStatus
  conditions 1 [PriorityLevelConfigurationCondition] map:type patch=merge:type

QueuingConfiguration
  handSize 2 int32
  queueLengthLimit 3 int32
  queues 1 int32

ResourcePolicyRule
  apiGroups! 2 [string] set
  clusterScope 4 bool
  namespaces 5 [string] set
  resources! 3 [string] set
  verbs! 1 [string] set

ServiceAccountSubject
  name! 2 string
  namespace! 1 string

Subject
  group 3 GroupSubject
  kind! 1 string
  serviceAccount 4 ServiceAccountSubject
  user 2 UserSubject

UserSubject
  name! 1 string
`;
