/** Types of scheduling.v1; parse.ts has the grammar of a line. */
export const SCHEDULING_TYPES = `
PriorityClass kind
  description 4 string
  globalDefault 3 bool
  metadata 1 meta.v1.ObjectMeta
  preemptionPolicy 5 string
  value 2 int32

PriorityClassList kind
  items! 2 [PriorityClass]
  metadata 1 meta.v1.ListMeta
`;
