/** What a filter does with a call, runtime-spec config-linux.md "Seccomp". */
export type SeccompAction =
  | 'SCMP_ACT_KILL'
  | 'SCMP_ACT_KILL_THREAD'
  | 'SCMP_ACT_KILL_PROCESS'
  | 'SCMP_ACT_TRAP'
  | 'SCMP_ACT_ERRNO'
  | 'SCMP_ACT_TRACE'
  | 'SCMP_ACT_NOTIFY'
  | 'SCMP_ACT_LOG'
  | 'SCMP_ACT_ALLOW';

export type SeccompOperator =
  | 'SCMP_CMP_NE'
  | 'SCMP_CMP_LT'
  | 'SCMP_CMP_LE'
  | 'SCMP_CMP_EQ'
  | 'SCMP_CMP_GE'
  | 'SCMP_CMP_GT'
  | 'SCMP_CMP_MASKED_EQ';

export interface OciSeccompArg {
  /** 0 to 5 */
  readonly index: number;
  /** Compared as 64 bits without a sign; the mask of SCMP_CMP_MASKED_EQ. */
  readonly value: number;
  /** What the masked argument must be, SCMP_CMP_MASKED_EQ alone. */
  readonly valueTwo?: number;
  readonly op: string;
}

export interface OciSeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  /** errno of SCMP_ACT_ERRNO, data of SCMP_ACT_TRACE; default EPERM. */
  readonly errnoRet?: number;
  readonly args?: readonly OciSeccompArg[];
}

/** `linux.seccomp` of the OCI runtime-spec. */
export interface OciSeccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  /** "SCMP_ARCH_X86_64", ...; the machine's own ABI is always filtered. */
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  /** The unix socket that is sent the descriptor of SCMP_ACT_NOTIFY. */
  readonly listenerPath?: string;
  readonly listenerMetadata?: string;
  readonly syscalls?: readonly OciSeccompRule[];
}
