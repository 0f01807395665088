/** Types of policy.v1; parse.ts has the grammar of a line. */
export const POLICY_TYPES = `
Eviction kind
  deleteOptions 2 meta.v1.DeleteOptions
  metadata 1 meta.v1.ObjectMeta

PodDisruptionBudget kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 PodDisruptionBudgetSpec
  status 3 PodDisruptionBudgetStatus

PodDisruptionBudgetList kind
  items! 2 [PodDisruptionBudget]
  metadata 1 meta.v1.ListMeta

PodDisruptionBudgetSpec
  maxUnavailable 3 intOrString
  minAvailable 1 intOrString
  selector 2 meta.v1.LabelSelector patch=replace
  unhealthyPodEvictionPolicy 4 string

PodDisruptionBudgetStatus
  conditions 7 [meta.v1.Condition] map:type patch=merge:type
  currentHealthy 4 int32
  desiredHealthy 5 int32
  disruptedPods 2 {time}
  disruptionsAllowed 3 int32
  expectedPods 6 int32
  observedGeneration 1 int64
`;
