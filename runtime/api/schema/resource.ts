/** Types of resource.v1; parse.ts has the grammar of a line. */
export const RESOURCE_TYPES = `
AllocatedDeviceStatus
  conditions - [meta.v1.Condition] map:type
  data - raw
  device! - string
  driver! - string
  networkData - NetworkDeviceData
  pool! - string
  shareID - string

AllocationResult
  allocationTimestamp - time
  devices - DeviceAllocationResult
  nodeSelector - core.v1.NodeSelector

CELDeviceSelector
  expression! - string

CapacityRequestPolicy
  default - quantity
  validRange - CapacityRequestPolicyRange
  validValues - [quantity] atomic

CapacityRequestPolicyRange
  max - quantity
  min! - quantity
  step - quantity

CapacityRequirements
  requests - {quantity}

Counter
  value! - quantity

CounterSet
  counters! - {Counter}
  name! - string

Device
  allNodes - bool
  allowMultipleAllocations - bool
  attributes - {DeviceAttribute}
  bindingConditions - [string] atomic
  bindingFailureConditions - [string] atomic
  bindsToNode - bool
  capacity - {DeviceCapacity}
  consumesCounters - [DeviceCounterConsumption] atomic
  name! - string
  nodeAllocatableResourceMappings - {NodeAllocatableResourceMapping}
  nodeName - string
  nodeSelector - core.v1.NodeSelector
  taints - [DeviceTaint] atomic

DeviceAllocationConfiguration
  opaque - OpaqueDeviceConfiguration
  requests - [string] atomic
  source! - string

DeviceAllocationResult
  config - [DeviceAllocationConfiguration] atomic
  results - [DeviceRequestAllocationResult] atomic

DeviceAttribute
  bool - bool
  bools - [bool] atomic
  int - int64
  ints - [int64] atomic
  string - string
  strings - [string] atomic
  version - string
  versions - [string] atomic

DeviceCapacity
  requestPolicy - CapacityRequestPolicy
  value! - quantity

DeviceClaim
  config - [DeviceClaimConfiguration] atomic
  constraints - [DeviceConstraint] atomic
  requests - [DeviceRequest] atomic

DeviceClaimConfiguration
  opaque - OpaqueDeviceConfiguration
  requests - [string] atomic

DeviceClass kind
  metadata - meta.v1.ObjectMeta
  spec! - DeviceClassSpec

DeviceClassConfiguration
  opaque - OpaqueDeviceConfiguration

DeviceClassList kind
  items! - [DeviceClass]
  metadata - meta.v1.ListMeta

DeviceClassSpec
  config - [DeviceClassConfiguration] atomic
  extendedResourceName - string
  selectors - [DeviceSelector] atomic

DeviceConstraint
  distinctAttribute - string
  matchAttribute - string
  requests - [string] atomic

DeviceCounterConsumption
  counterSet! - string
  counters! - {Counter}

DeviceRequest
  exactly - ExactDeviceRequest
  firstAvailable - [DeviceSubRequest] atomic
  name! - string

DeviceRequestAllocationResult
  adminAccess - bool
  bindingConditions - [string] atomic
  bindingFailureConditions - [string] atomic
  consumedCapacity - {quantity}
  device! - string
  driver! - string
  pool! - string
  request! - string
  shareID - string
  tolerations - [DeviceToleration] atomic

DeviceSelector
  cel - CELDeviceSelector

DeviceSubRequest
  allocationMode - string
  capacity - CapacityRequirements
  count - int64
  deviceClassName! - string
  name! - string
  selectors - [DeviceSelector] atomic
  tolerations - [DeviceToleration] atomic

DeviceTaint
  effect! - string
  key! - string
  timeAdded - time
  value - string

DeviceToleration
  effect - string
  key - string
  operator - string ="Equal"
  tolerationSeconds - int64
  value - string

ExactDeviceRequest
  adminAccess - bool
  allocationMode - string
  capacity - CapacityRequirements
  count - int64
  deviceClassName! - string
  selectors - [DeviceSelector] atomic
  tolerations - [DeviceToleration] atomic

NetworkDeviceData
  hardwareAddress - string
  interfaceName - string
  ips - [string] atomic

NodeAllocatableResourceMapping
  allocationMultiplier - quantity
  capacityKey - string

OpaqueDeviceConfiguration
  driver! - string
  parameters! - raw

ResourceClaim kind
  metadata - meta.v1.ObjectMeta
  spec! - ResourceClaimSpec
  status - ResourceClaimStatus

ResourceClaimConsumerReference
  apiGroup - string
  name! - string
  resource! - string
  uid! - string

ResourceClaimList kind
  items! - [ResourceClaim]
  metadata - meta.v1.ListMeta

ResourceClaimSpec
  devices - DeviceClaim

ResourceClaimStatus
  allocation - AllocationResult
  devices - [AllocatedDeviceStatus] map:driver,device,pool,shareID
  reservedFor - [ResourceClaimConsumerReference] map:uid patch=merge:uid

ResourceClaimTemplate kind
  metadata - meta.v1.ObjectMeta
  spec! - ResourceClaimTemplateSpec

ResourceClaimTemplateList kind
  items! - [ResourceClaimTemplate]
  metadata - meta.v1.ListMeta

ResourceClaimTemplateSpec
  metadata - meta.v1.ObjectMeta
  spec! - ResourceClaimSpec

ResourcePool
  generation! - int64
  name! - string
  resourceSliceCount! - int64

ResourceSlice kind
  metadata - meta.v1.ObjectMeta
  spec! - ResourceSliceSpec

ResourceSliceList kind
  items! - [ResourceSlice]
  metadata - meta.v1.ListMeta

ResourceSliceSpec
  allNodes - bool
  devices - [Device] atomic
  driver! - string
  nodeName - string
  nodeSelector - core.v1.NodeSelector
  perDeviceNodeSelection - bool
  pool! - ResourcePool
  sharedCounters - [CounterSet] atomic
`;
