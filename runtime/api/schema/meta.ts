/** Types of meta.v1; parse.ts has the grammar of a line. */
export const META_TYPES = `
APIGroup kind
  name! 1 string
  preferredVersion 3 GroupVersionForDiscovery
  serverAddressByClientCIDRs 4 [ServerAddressByClientCIDR] atomic
  versions! 2 [GroupVersionForDiscovery] atomic

APIGroupList kind
  groups! 1 [APIGroup] atomic

APIResource
  categories 7 [string] atomic
  group 8 string
  kind! 3 string
  name! 1 string
  namespaced! 2 bool
  shortNames 5 [string] atomic
  singularName! 6 string
  storageVersionHash 10 string
  verbs! 4 [string]
  version 9 string

APIResourceList kind
  groupVersion! 1 string
  resources! 2 [APIResource] atomic

APIVersions kind
  serverAddressByClientCIDRs! 2 [ServerAddressByClientCIDR] atomic
  versions! 1 [string] atomic

Condition
  lastTransitionTime! 4 time
  message! 6 string
  observedGeneration 3 int64
  reason! 5 string
  status! 2 string
  type! 1 string

DeleteOptions kind
  dryRun 5 [string] atomic
  gracePeriodSeconds? 1 int64
  ignoreStoreReadErrorWithClusterBreakingPotential 6 bool
  orphanDependents? 3 bool
  preconditions 2 Preconditions
  propagationPolicy 4 string

FieldSelectorRequirement
  key! 1 string
  operator! 2 string
  values 3 [string] atomic

GroupResource
  group! 1 string
  resource! 2 string

GroupVersionForDiscovery
  groupVersion! 1 string
  version! 2 string

LabelSelector atomic
  matchExpressions 2 [LabelSelectorRequirement] atomic
  matchLabels 1 {string}

LabelSelectorRequirement
  key! 1 string
  operator! 2 string
  values 3 [string] atomic

ListMeta
  continue 3 string
  remainingItemCount? 4 int64
  resourceVersion 2 string
  selfLink 1 string
  shardInfo - ShardInfo

ManagedFieldsEntry
  apiVersion 3 string
  fieldsType 6 string
  fieldsV1 7 fieldsV1
  manager 1 string
  operation 2 string
  subresource 8 string
  time 4 time

ObjectMeta
  annotations 12 {string}
  creationTimestamp 8 time
  deletionGracePeriodSeconds? 10 int64
  deletionTimestamp 9 time
  finalizers 14 [string] set patch=merge
  generateName 2 string
  generation 7 int64
  labels 11 {string}
  managedFields 17 [ManagedFieldsEntry] atomic
  name 1 string
  namespace 3 string
  ownerReferences 13 [OwnerReference] map:uid patch=merge:uid
  resourceVersion 6 string
  selfLink 4 string
  uid 5 string

OwnerReference atomic
  apiVersion! 5 string
  blockOwnerDeletion? 7 bool
  controller? 6 bool
  kind! 1 string
  name! 3 string
  uid! 4 string

Preconditions
  resourceVersion 2 string
  uid 1 string

ServerAddressByClientCIDR
  clientCIDR! 1 string
  serverAddress! 2 string

ShardInfo
  selector! - string

Status kind
  code 6 int32
  details 5 StatusDetails
  message 3 string
  metadata 1 ListMeta
  reason 4 string
  status 2 string

StatusCause
  field 3 string
  message 2 string
  reason 1 string

StatusDetails
  causes 4 [StatusCause] atomic
  group 2 string
  kind 3 string
  name 1 string
  retryAfterSeconds 5 int32
  uid 6 string

WatchEvent kind
  object! 2 raw
  type! 1 string
`;
