/** What a failure is about; decides the exit code of the command line. */
export type ErrorArea =
  | 'internal'
  | 'usage'
  | 'preflight'
  | 'discovery'
  | 'timeout'
  | 'host'
  | 'cluster'
  | 'interrupted';

/** Exit code for each area, documented in `tkadm --help` and docs/output.md. */
export const EXIT_CODES = {
  internal: 1,
  usage: 2,
  preflight: 3,
  discovery: 4,
  timeout: 5,
  host: 6,
  cluster: 7,
  interrupted: 130,
} as const satisfies Record<ErrorArea, number>;

/** Every error code with its area. Each folder adds its rows in its own section; codes never change. */
export const ERRORS = {
  // base
  CANCELLED: 'timeout',
  WAIT_TIMEOUT: 'timeout',
  FLAG_UNKNOWN: 'usage',
  FLAG_INVALID: 'usage',
  FILE_READ: 'host',
  FILE_WRITE: 'host',
  CERTIFICATE_FILE_INVALID: 'host',
  COMMAND_FAILED: 'host',
  UNSUPPORTED: 'usage',
  // api
  API_REQUEST: 'cluster',
  API_UNREACHABLE: 'cluster',
  KUBECONFIG_INVALID: 'usage',
  // pki
  PKI_KEY_INVALID: 'host',
  PKI_KEY_MISSING: 'host',
  PKI_CERTIFICATE_INVALID: 'host',
  PKI_CERTIFICATE_STALE: 'host',
  PKI_CSR_INVALID: 'usage',
  PKI_EXTERNAL_CA: 'host',
  PKI_SECRET_INVALID: 'cluster',
  PKI_FILE_EXISTS: 'host',
  CERTIFICATE_KEY_INVALID: 'usage',
  // templates
  TEMPLATE_INVALID: 'usage',
  PATCH_INVALID: 'usage',
  // preflight
  // container
  CONTAINER_EXISTS: 'usage',
  CONTAINER_NOT_FOUND: 'usage',
  CONTAINER_STATE: 'usage',
  CONTAINER_STUCK: 'host',
  CONTAINER_LAUNCH: 'host',
  CONTAINER_EXEC: 'host',
  CONTAINER_HOOK: 'host',
  OCI_CONFIG: 'usage',
  SECCOMP_PROFILE: 'usage',
  CGROUP_UNSUPPORTED: 'host',
  CGROUP_WRITE: 'host',
  CGROUP_BUSY: 'host',
  SYSTEMD_UNREACHABLE: 'host',
  SYSTEMD_REFUSED: 'host',
  // image
  DOCKERFILE_INVALID: 'usage',
  REGISTRY: 'host',
  REGISTRY_UNREACHABLE: 'host',
  REGISTRY_DENIED: 'host',
  IMAGE_RUNTIME_UNREACHABLE: 'host',
  IMAGE_REQUEST_INVALID: 'usage',
  IMAGE_REGISTRIES_INVALID: 'usage',
  IMAGE_BUILD_STEP: 'host',
  IMAGE_REFERENCE_INVALID: 'usage',
  IMAGE_PATH_INVALID: 'host',
  IMAGE_UNPACK: 'host',
  IMAGE_NOT_FOUND: 'host',
  IMAGE_INVALID: 'host',
  IMAGE_PINNED: 'usage',
  // cri
  CRI_CALL: 'host',
  CRI_NOT_FOUND: 'host',
  CRI_INVALID: 'usage',
  CRI_STATE: 'host',
  CRI_EXISTS: 'usage',
  CRI_TIMEOUT: 'timeout',
  CNI_CONFIG: 'host',
  CNI_PLUGIN: 'host',
  // ctr
  CTR_RUNTIME_UNREACHABLE: 'host',
  CTR_REQUEST_INVALID: 'usage',
  CTR_NOT_FOUND: 'usage',
  CTR_AMBIGUOUS: 'usage',
  CTR_NAME_TAKEN: 'usage',
  CTR_CONFLICT: 'usage',
  CTR_STATE: 'usage',
  CTR_START: 'host',
  CTR_PORT_TAKEN: 'host',
  CTR_PATH: 'usage',
  // network
  NETWORK_CONFIG: 'usage',
  NETWORK_FULL: 'host',
  NETWORK_COMMAND: 'host',
  PROXY_CONFIG: 'usage',
  COREFILE_INVALID: 'usage',
  // agent
  AGENT_CONFIG_INVALID: 'usage',
  AGENT_MANIFEST_INVALID: 'usage',
  AGENT_VOLUME: 'host',
  AGENT_VOLUME_UNSUPPORTED: 'usage',
  AGENT_OBJECT_MISSING: 'cluster',
  AGENT_IMAGE: 'host',
  AGENT_CONTAINER_CONFIG: 'usage',
  AGENT_PROBE: 'host',
  AGENT_HOOK: 'host',
  AGENT_DEVICE: 'host',
  AGENT_BOOTSTRAP: 'cluster',
  AGENT_DISCONNECTED: 'cluster',
  AGENT_REQUEST: 'usage',
  AGENT_LOG: 'host',
  // controlplane
  STORE_LOCKED: 'host',
  STORE_CORRUPT: 'host',
  STORE_FAILED: 'host',
  STORE_FULL: 'host',
  STORE_COMPACTED: 'cluster',
  STORE_FUTURE_REVISION: 'cluster',
  SERVER_CONFIG: 'usage',
  COMPONENT_LISTEN: 'host',
  LEASE_LOST: 'cluster',
  CSR_INVALID: 'cluster',
  // host
  BUNDLE_BUILD: 'host',
  SERVICE_FAILED: 'host',
  // bootstrap
  TOKEN_INVALID: 'usage',
  CA_PIN_INVALID: 'usage',
  DISCOVERY_UNREACHABLE: 'discovery',
  DISCOVERY_NO_API_SERVER: 'discovery',
  DISCOVERY_TOKEN_UNKNOWN: 'discovery',
  DISCOVERY_TOKEN_EXPIRED: 'discovery',
  DISCOVERY_TOKEN_REFUSED: 'discovery',
  DISCOVERY_TOKEN_SECRET: 'discovery',
  DISCOVERY_CA_MISMATCH: 'discovery',
  DISCOVERY_CERTIFICATE: 'discovery',
  DISCOVERY_CLOCK: 'discovery',
  DISCOVERY_NO_CLUSTER_INFO: 'discovery',
  DISCOVERY_DENIED: 'discovery',
  JOURNAL_DAMAGED: 'host',
  MACHINE_BUSY: 'host',
  RESET_INCOMPLETE: 'host',
  PREFLIGHT_FAILED: 'preflight',
  NOT_ROOT: 'preflight',
  NO_ADDRESS: 'preflight',
  CONFIG_INVALID: 'usage',
  CONFIG_FLAGS_MIXED: 'usage',
  TOKEN_NOT_FOUND: 'cluster',
  TOKEN_EXISTS: 'cluster',
  DISCOVERY_CHANGED: 'discovery',
  DISCOVERY_FILE_INVALID: 'discovery',
  PHASE_UNKNOWN: 'usage',
  SSH_CONFIG: 'usage',
  SSH_CONNECT: 'host',
  SSH_AUTHENTICATION: 'host',
  SSH_HOST_KEY: 'host',
  JOIN_FAILED: 'host',
  APPLY_FAILED: 'host',
  FLEET_DRAIN: 'timeout',
  USAGE: 'usage',
  INTERNAL: 'internal',
  INTERRUPTED: 'interrupted',
  NODE_EXISTS: 'cluster',
  DIAGNOSIS_SUBJECT: 'cluster',
  FAULT_FOUND: 'cluster',
  REQUEST_NOT_SIGNED: 'cluster',
  CONTAINER_CRASHES: 'cluster',
  ROLLBACK_FAILED: 'cluster',
  UPGRADE_NEEDED: 'usage',
  UPGRADE_FAILED: 'host',
  UPGRADE_VERSION: 'usage',
  UPGRADE_NO_CLUSTER: 'preflight',
} as const satisfies Record<string, ErrorArea>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  readonly cause?: unknown;
  /** The next command or step for the reader. */
  readonly hint?: string;
  /** Facts for machine-readable output; never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** An expected failure: a stable code, what was found and where, and the next step in `hint`. */
export class TkadmError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TkadmError';
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }
}

/** True when `error` is a TkadmError with this code. */
export function isTkadmError(error: unknown, code?: ErrorCode): error is TkadmError {
  return error instanceof TkadmError && (code === undefined || error.code === code);
}

/** The message of anything thrown. */
export function formatError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Codes of errno(3) in words. */
const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EEXIST: 'it exists',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of its path is no directory',
  EROFS: 'its file system is read-only',
  ENOSPC: 'no space is left on its file system',
};

/** Why a file cannot be read or written, as the end of "Cannot read ...: ". */
export function describeFileError(error: unknown): string {
  return FILE_ERRORS[(error as NodeJS.ErrnoException).code ?? ''] ?? formatError(error);
}

/** True for a Node.js system error with this `code`, for example "ENOENT". */
export function isSystemError(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}
