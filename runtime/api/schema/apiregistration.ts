/** Types of apiregistration.v1; parse.ts has the grammar of a line. */
export const APIREGISTRATION_TYPES = `
APIService kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 APIServiceSpec
  status 3 APIServiceStatus

APIServiceCondition
  lastTransitionTime 3 time
  message 5 string
  reason 4 string
  status! 2 string
  type! 1 string

APIServiceList kind
  items! 2 [APIService]
  metadata 1 meta.v1.ListMeta

APIServiceSpec
  caBundle 5 bytes atomic
  group 2 string
  groupPriorityMinimum! 7 int32
  insecureSkipTLSVerify 4 bool
  service 1 ServiceReference
  version 3 string
  versionPriority! 8 int32

APIServiceStatus
  conditions 1 [APIServiceCondition] map:type patch=merge:type

ServiceReference
  name 2 string
  namespace 1 string
  port? 3 int32
`;
