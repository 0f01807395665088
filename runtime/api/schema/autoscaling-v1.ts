/** Types of autoscaling.v1; parse.ts has the grammar of a line. */
export const AUTOSCALING_V1_TYPES = `
CrossVersionObjectReference atomic
  apiVersion 3 string
  kind! 1 string
  name! 2 string

HorizontalPodAutoscaler kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 HorizontalPodAutoscalerSpec
  status 3 HorizontalPodAutoscalerStatus

HorizontalPodAutoscalerList kind
  items! 2 [HorizontalPodAutoscaler]
  metadata 1 meta.v1.ListMeta

HorizontalPodAutoscalerSpec
  maxReplicas! 3 int32
  minReplicas? 2 int32
  scaleTargetRef! 1 CrossVersionObjectReference
  targetCPUUtilizationPercentage? 4 int32

HorizontalPodAutoscalerStatus
  currentCPUUtilizationPercentage? 5 int32
  currentReplicas! 3 int32
  desiredReplicas! 4 int32
  lastScaleTime 2 time
  observedGeneration? 1 int64

Scale kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 ScaleSpec
  status 3 ScaleStatus

ScaleSpec
  replicas 1 int32

ScaleStatus
  replicas! 1 int32
  selector 2 string
`;
