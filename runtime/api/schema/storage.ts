/** Types of storage.v1; parse.ts has the grammar of a line. */
export const STORAGE_TYPES = `
CSIDriver kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 CSIDriverSpec

CSIDriverList kind
  items! 2 [CSIDriver]
  metadata 1 meta.v1.ListMeta

CSIDriverSpec
  attachRequired? 1 bool
  fsGroupPolicy 5 string
  nodeAllocatableUpdatePeriodSeconds? - int64
  podInfoOnMount? 2 bool
  preventPodSchedulingIfMissing - bool
  requiresRepublish? 7 bool
  seLinuxMount? 8 bool
  serviceAccountTokenInSecrets - bool
  storageCapacity? 4 bool
  tokenRequests 6 [TokenRequest] atomic
  volumeLifecycleModes 3 [string] set

CSINode kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 CSINodeSpec

CSINodeDriver
  allocatable 4 VolumeNodeResources
  name! 1 string
  nodeID! 2 string
  topologyKeys 3 [string] atomic

CSINodeList kind
  items! 2 [CSINode]
  metadata 1 meta.v1.ListMeta

CSINodeSpec
  drivers! 1 [CSINodeDriver] map:name patch=merge:name

CSIStorageCapacity kind
  capacity 4 quantity
  maximumVolumeSize 5 quantity
  metadata 1 meta.v1.ObjectMeta
  nodeTopology 2 meta.v1.LabelSelector
  storageClassName! 3 string

CSIStorageCapacityList kind
  items! 2 [CSIStorageCapacity]
  metadata 1 meta.v1.ListMeta

StorageClass kind
  allowVolumeExpansion? 6 bool
  allowedTopologies 8 [core.v1.TopologySelectorTerm] atomic
  metadata 1 meta.v1.ObjectMeta
  mountOptions 5 [string] atomic
  parameters 3 {string}
  provisioner! 2 string
  reclaimPolicy 4 string
  volumeBindingMode 7 string

StorageClassList kind
  items! 2 [StorageClass]
  metadata 1 meta.v1.ListMeta

TokenRequest
  audience! 1 string
  expirationSeconds? 2 int64

VolumeAttachment kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 VolumeAttachmentSpec
  status 3 VolumeAttachmentStatus

VolumeAttachmentList kind
  items! 2 [VolumeAttachment]
  metadata 1 meta.v1.ListMeta

VolumeAttachmentSource
  inlineVolumeSpec 2 core.v1.PersistentVolumeSpec
  persistentVolumeName 1 string

VolumeAttachmentSpec
  attacher! 1 string
  nodeName! 3 string
  source! 2 VolumeAttachmentSource

VolumeAttachmentStatus
  attachError 3 VolumeError
  attached! 1 bool
  attachmentMetadata 2 {string}
  detachError 4 VolumeError

VolumeAttributesClass kind
  driverName! 2 string
  metadata 1 meta.v1.ObjectMeta
  parameters 3 {string}

VolumeAttributesClassList kind
  items! 2 [VolumeAttributesClass]
  metadata 1 meta.v1.ListMeta

VolumeError
  errorCode - int32
  message 2 string
  time 1 time

VolumeNodeResources
  count? 1 int32
`;
