import type { OciProcess, OciResources, OciSpec } from './oci-spec.ts';
import {
  absolutePath,
  cpuList,
  type FieldRow,
  flag,
  integer,
  list,
  map,
  object,
  refused,
  required,
  type Shape,
  text,
  word,
} from './schema-shape.ts';

const ANY = 2 ** 63;
/** Zero and above; "no limit" is -1 where a limit may be lifted. */
const count = integer(0, ANY);
const limit = integer(-1, ANY);
const signed = integer(-ANY, ANY);
const id = integer(0, 2 ** 32 - 1);
const percent = integer(0, 2 ** 32 - 1);

const ID_MAPPINGS = list(object({ containerID: required(id), hostID: required(id), size: required(id) }));
const TEXTS = list(text);
const HOOK_LIST = list(
  object({ path: required(absolutePath), args: TEXTS, env: TEXTS, timeout: integer(1, 2 ** 31 / 1000) }),
);
const USER = object({
  uid: id,
  gid: id,
  umask: integer(0, 0o777),
  additionalGids: list(id),
  username: refused('the field is for Windows'),
});
const RLIMIT = object({
  type: required(text),
  soft: required(integer(-1, 2 ** 64)),
  hard: required(integer(-1, 2 ** 64)),
});

const PROCESS = object({
  terminal: flag,
  consoleSize: object({ height: required(integer(0, 65535)), width: required(integer(0, 65535)) }),
  cwd: required(absolutePath),
  env: TEXTS,
  args: required(TEXTS),
  commandLine: refused('the field is for Windows'),
  user: USER,
  capabilities: object({
    bounding: TEXTS,
    effective: TEXTS,
    inheritable: TEXTS,
    permitted: TEXTS,
    ambient: TEXTS,
  }),
  rlimits: list(RLIMIT),
  noNewPrivileges: flag,
  oomScoreAdj: integer(-1000, 1000),
  apparmorProfile: text,
  selinuxLabel: text,
  scheduler: object({
    policy: required(text),
    nice: integer(-20, 19),
    priority: integer(0, 99),
    flags: TEXTS,
    runtime: count,
    deadline: count,
    period: count,
  }),
  ioPriority: object({ class: required(text), priority: required(integer(0, 7)) }),
  execCPUAffinity: object({ initial: cpuList, final: cpuList }),
});

const MOUNT = object({
  destination: required(text),
  source: text,
  type: text,
  options: TEXTS,
  uidMappings: ID_MAPPINGS,
  gidMappings: ID_MAPPINGS,
});

const DEVICE_RATE = list(object({ major: required(signed), minor: required(signed), rate: required(count) }));
const RESOURCES = object({
  devices: list(object({ allow: required(flag), type: text, major: signed, minor: signed, access: text })),
  memory: object({
    limit,
    reservation: limit,
    swap: limit,
    kernel: limit,
    kernelTCP: limit,
    swappiness: integer(0, 200),
    disableOOMKiller: flag,
    useHierarchy: flag,
    checkBeforeUpdate: flag,
  }),
  cpu: object({
    shares: count,
    quota: limit,
    burst: count,
    period: count,
    realtimeRuntime: limit,
    realtimePeriod: count,
    cpus: text,
    mems: text,
    idle: signed,
  }),
  pids: object({ limit: required(limit) }),
  blockIO: object({
    weight: integer(0, 1000),
    leafWeight: integer(0, 1000),
    weightDevice: list(
      object({
        major: required(signed),
        minor: required(signed),
        weight: integer(0, 1000),
        leafWeight: integer(0, 1000),
      }),
    ),
    throttleReadBpsDevice: DEVICE_RATE,
    throttleWriteBpsDevice: DEVICE_RATE,
    throttleReadIOPSDevice: DEVICE_RATE,
    throttleWriteIOPSDevice: DEVICE_RATE,
  }),
  hugepageLimits: list(object({ pageSize: required(text), limit: required(limit) })),
  network: object({
    classID: id,
    priorities: list(object({ name: required(text), priority: required(id) })),
  }),
  rdma: map(object({ hcaHandles: id, hcaObjects: id })),
  unified: map(text),
});

const SECCOMP = object({
  defaultAction: required(text),
  defaultErrnoRet: percent,
  architectures: TEXTS,
  flags: TEXTS,
  listenerPath: text,
  listenerMetadata: text,
  syscalls: list(
    object({
      names: required(TEXTS),
      action: required(text),
      errnoRet: percent,
      args: list(
        object({
          index: required(integer(0, 5)),
          value: required(count),
          valueTwo: count,
          op: required(text),
        }),
      ),
    }),
  ),
});

const DEVICE = object({
  path: required(absolutePath),
  type: required(word(['c', 'b', 'u', 'p'])),
  major: signed,
  minor: signed,
  fileMode: integer(0, 2 ** 32 - 1),
  uid: id,
  gid: id,
});

const LINUX = object({
  namespaces: list(
    object({
      type: required(word(['pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time'])),
      path: text,
    }),
  ),
  uidMappings: ID_MAPPINGS,
  gidMappings: ID_MAPPINGS,
  timeOffsets: map(object({ secs: signed, nanosecs: integer(0, 999_999_999) })),
  devices: list(DEVICE),
  cgroupsPath: text,
  resources: RESOURCES,
  rootfsPropagation: text,
  seccomp: SECCOMP,
  sysctl: map(text),
  maskedPaths: TEXTS,
  readonlyPaths: TEXTS,
  mountLabel: text,
  personality: object({ domain: required(word(['LINUX', 'LINUX32'])), flags: TEXTS }),
  intelRdt: refused('Intel RDT is not supported'),
  netDevices: refused('network devices are not moved'),
  memoryPolicy: refused('memory policies are not set'),
});

const FOREIGN = refused('the container is for Linux');
const SPEC = object({
  ociVersion: required(text),
  root: object({ path: required(text), readonly: flag }),
  mounts: list(MOUNT),
  process: PROCESS,
  hostname: text,
  domainname: text,
  hooks: object({
    prestart: HOOK_LIST,
    createRuntime: HOOK_LIST,
    createContainer: HOOK_LIST,
    startContainer: HOOK_LIST,
    poststart: HOOK_LIST,
    poststop: HOOK_LIST,
  }),
  annotations: map(text),
  linux: LINUX,
  windows: FOREIGN,
  solaris: FOREIGN,
  vm: FOREIGN,
  zos: FOREIGN,
});

/** Every field of `config.json` (runtime-spec 1.2 config.md, config-linux.md): what it may be, or why it is refused. */
export const CONFIG_FIELDS: readonly FieldRow[] = SPEC.rows('');

/** Hears of properties that the specification does not have, which are ignored as it asks ("Extensibility"). */
export type UnknownListener = (path: string) => void;

/**
 * A `config.json`, without the properties that are null.
 * @throws OCI_CONFIG with the path of the field that is wrong or not supported
 */
export function parseSpec(value: unknown, document: string, unknown: UnknownListener = () => {}): OciSpec {
  return parse<OciSpec>(SPEC, value, { path: '', document, unknown });
}

/** The `process` of a config, as `exec` takes it. @throws OCI_CONFIG */
export function parseProcess(value: unknown, document: string): OciProcess {
  return parse<OciProcess>(PROCESS, value, { path: '', document, unknown: () => {} });
}

/** The `linux.resources` of a config, as `update` takes them. @throws OCI_CONFIG */
export function parseResources(value: unknown, document: string): OciResources {
  return parse<OciResources>(RESOURCES, value, { path: '', document, unknown: () => {} });
}

function parse<T>(shape: Shape, value: unknown, context: Parameters<Shape['check']>[1]): T {
  shape.check(value, context);
  return dropNulls(value) as T;
}

function dropNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, entry]) => entry !== null)
      .map(([name, entry]) => [name, dropNulls(entry)]),
  );
}
