/** Types of discovery.v1; parse.ts has the grammar of a line. */
export const DISCOVERY_TYPES = `
Endpoint
  addresses! 1 [string] set
  conditions 2 EndpointConditions
  deprecatedTopology 5 {string}
  hints 8 EndpointHints
  hostname 3 string
  nodeName 6 string
  targetRef 4 core.v1.ObjectReference
  zone 7 string

EndpointConditions
  ready? 1 bool
  serving? 2 bool
  terminating? 3 bool

EndpointHints
  forNodes 2 [ForNode] atomic
  forZones 1 [ForZone] atomic

EndpointPort atomic
  appProtocol 4 string
  name? 1 string
  port? 3 int32
  protocol 2 string

EndpointSlice kind
  addressType! 4 string
  endpoints 2 [Endpoint] atomic
  metadata 1 meta.v1.ObjectMeta
  ports 3 [EndpointPort] atomic

EndpointSliceList kind
  items! 2 [EndpointSlice]
  metadata 1 meta.v1.ListMeta

ForNode
  name! 1 string

ForZone
  name! 1 string
`;
