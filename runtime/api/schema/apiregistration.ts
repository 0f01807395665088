/** Types of apiregistration.v1; parse.ts has the grammar of a line. */
export const APIREGISTRATION_TYPES = `
APIService kind
  metadata - meta.v1.ObjectMeta
  spec - APIServiceSpec
  status - APIServiceStatus

APIServiceCondition
  lastTransitionTime - time
  message - string
  reason - string
  status! - string
  type! - string

APIServiceList kind
  items! - [APIService]
  metadata - meta.v1.ListMeta

APIServiceSpec
  caBundle - bytes atomic
  group - string
  groupPriorityMinimum! - int32
  insecureSkipTLSVerify - bool
  service - ServiceReference
  version - string
  versionPriority! - int32

APIServiceStatus
  conditions - [APIServiceCondition] map:type patch=merge:type

ServiceReference
  name - string
  namespace - string
  port - int32
`;
