/** Types of coordination.v1; parse.ts has the grammar of a line. */
export const COORDINATION_TYPES = `
Lease kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 LeaseSpec

LeaseList kind
  items! 2 [Lease]
  metadata 1 meta.v1.ListMeta

LeaseSpec
  acquireTime 3 microTime
  holderIdentity? 1 string
  leaseDurationSeconds? 2 int32
  leaseTransitions? 5 int32
  preferredHolder 7 string
  renewTime 4 microTime
  strategy 6 string
`;
