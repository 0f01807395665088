/** Types of node.v1; parse.ts has the grammar of a line. */
export const NODE_TYPES = `
Overhead
  podFixed 1 {quantity}

RuntimeClass kind
  handler! 2 string
  metadata 1 meta.v1.ObjectMeta
  overhead 3 Overhead
  scheduling 4 Scheduling

RuntimeClassList kind
  items! 2 [RuntimeClass]
  metadata 1 meta.v1.ListMeta

Scheduling
  nodeSelector 1 {string} atomic
  tolerations 2 [core.v1.Toleration] atomic
`;
