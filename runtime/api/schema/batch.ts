/** Types of batch.v1; parse.ts has the grammar of a line. */
export const BATCH_TYPES = `
CronJob kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 CronJobSpec
  status 3 CronJobStatus

CronJobList kind
  items! 2 [CronJob]
  metadata 1 meta.v1.ListMeta

CronJobSpec
  concurrencyPolicy 3 string
  failedJobsHistoryLimit? 7 int32
  jobTemplate! 5 JobTemplateSpec
  schedule! 1 string
  startingDeadlineSeconds? 2 int64
  successfulJobsHistoryLimit? 6 int32
  suspend? 4 bool
  timeZone 8 string

CronJobStatus
  active 1 [core.v1.ObjectReference] atomic
  lastScheduleTime 4 time
  lastSuccessfulTime 5 time

Job kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 JobSpec
  status 3 JobStatus

JobCondition
  lastProbeTime 3 time
  lastTransitionTime 4 time
  message 6 string
  reason 5 string
  status! 2 string
  type! 1 string

JobList kind
  items! 2 [Job]
  metadata 1 meta.v1.ListMeta

JobSpec
  activeDeadlineSeconds? 3 int64
  backoffLimit? 7 int32
  backoffLimitPerIndex? 12 int32
  completionMode 9 string
  completions? 2 int32
  managedBy 15 string
  manualSelector? 5 bool
  maxFailedIndexes? 13 int32
  parallelism? 1 int32
  podFailurePolicy 11 PodFailurePolicy
  podReplacementPolicy 14 string
  selector 4 meta.v1.LabelSelector
  successPolicy 16 SuccessPolicy
  suspend? 10 bool
  template! 6 core.v1.PodTemplateSpec
  ttlSecondsAfterFinished? 8 int32

JobStatus
  active 4 int32
  completedIndexes 7 string
  completionTime 3 time
  conditions 1 [JobCondition] atomic patch=merge:type
  failed 6 int32
  failedIndexes 10 string
  ready? 9 int32
  startTime 2 time
  succeeded 5 int32
  terminating? 11 int32
  uncountedTerminatedPods 8 UncountedTerminatedPods

JobTemplateSpec
  metadata 1 meta.v1.ObjectMeta
  spec 2 JobSpec

PodFailurePolicy
  rules! 1 [PodFailurePolicyRule] atomic

PodFailurePolicyOnExitCodesRequirement
  containerName 1 string
  operator! 2 string
  values! 3 [int32] set

PodFailurePolicyOnPodConditionsPattern
  status 2 string
  type! 1 string

PodFailurePolicyRule
  action! 1 string
  onExitCodes 2 PodFailurePolicyOnExitCodesRequirement
  onPodConditions 3 [PodFailurePolicyOnPodConditionsPattern] atomic

SuccessPolicy
  rules! 1 [SuccessPolicyRule] atomic

SuccessPolicyRule
  succeededCount? 2 int32
  succeededIndexes 1 string

UncountedTerminatedPods
  failed 2 [string] set
  succeeded 1 [string] set
`;
