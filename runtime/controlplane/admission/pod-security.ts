import type { Container, Pod, PodSpec } from 'kubernetes-types/core/v1.d.ts';
import { SAFE_SYSCTLS } from '../../api/safe-sysctls.ts';
import { podContainers } from '../auth/node/pod-references.ts';

type AnyContainer = Pick<Container, 'name' | 'ports' | 'securityContext'>;

/** One rule of the Pod Security Standards; `find` names what breaks it, [] when nothing does. */
interface SecurityCheck {
  readonly level: 'baseline' | 'restricted';
  readonly title: string;
  readonly find: (spec: PodSpec, pod: Pod) => readonly string[];
}

const BASELINE_CAPABILITIES = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];
const SELINUX_TYPES = ['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'];
const RESTRICTED_VOLUMES = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
];

const CHECKS: readonly SecurityCheck[] = [
  {
    level: 'baseline',
    title: 'host namespaces',
    find: (spec) =>
      (['hostNetwork', 'hostPID', 'hostIPC'] as const).flatMap((name) =>
        spec[name] ? [`${name}=true`] : [],
      ),
  },
  {
    level: 'baseline',
    title: 'privileged',
    find: (spec) =>
      containersWhere(
        spec,
        ({ securityContext }) => securityContext?.privileged,
        'must not set securityContext.privileged=true',
      ),
  },
  {
    level: 'baseline',
    title: 'non-default capabilities',
    find: (spec) =>
      containersWhere(
        spec,
        ({ securityContext }) =>
          securityContext?.capabilities?.add?.some((name) => !BASELINE_CAPABILITIES.includes(name)),
        'must not include non-default capabilities in securityContext.capabilities.add',
      ),
  },
  {
    level: 'baseline',
    title: 'hostPath volumes',
    find: (spec) => volumesWhere(spec, (volume) => volume['hostPath'] !== undefined),
  },
  {
    level: 'baseline',
    title: 'hostPort',
    find: (spec) =>
      containersWhere(spec, ({ ports }) => ports?.some(({ hostPort }) => hostPort), 'uses hostPort'),
  },
  {
    level: 'baseline',
    title: 'procMount',
    find: (spec) =>
      containersWhere(
        spec,
        ({ securityContext }) => (securityContext?.procMount ?? 'Default') !== 'Default',
        'must not set securityContext.procMount',
      ),
  },
  {
    level: 'baseline',
    title: 'seLinuxOptions',
    find: (spec) =>
      contextsWhere(
        spec,
        ({ seLinuxOptions: se }) => se && (!SELINUX_TYPES.includes(se.type ?? '') || se.user || se.role),
        'set forbidden securityContext.seLinuxOptions',
      ),
  },
  {
    level: 'baseline',
    title: 'seccompProfile',
    find: (spec) =>
      contextsWhere(
        spec,
        ({ seccompProfile }) => seccompProfile?.type === 'Unconfined',
        'must not set securityContext.seccompProfile.type to "Unconfined"',
      ),
  },
  {
    level: 'baseline',
    title: 'appArmorProfile',
    find: (spec, pod) => [
      ...contextsWhere(
        spec,
        (context) => context.appArmorProfile?.type === 'Unconfined',
        'must not set AppArmor profile type to "Unconfined"',
      ),
      ...Object.entries(pod.metadata?.annotations ?? {}).flatMap(([key, value]) =>
        key.startsWith('container.apparmor.security.beta.kubernetes.io/') && value === 'unconfined'
          ? [`${key}="${value}"`]
          : [],
      ),
    ],
  },
  {
    level: 'baseline',
    title: 'forbidden sysctls',
    find: (spec) =>
      (spec.securityContext?.sysctls ?? []).flatMap(({ name }) =>
        SAFE_SYSCTLS.includes(name) ? [] : [name],
      ),
  },
  {
    level: 'baseline',
    title: 'hostProcess',
    find: (spec) =>
      contextsWhere(
        spec,
        ({ windowsOptions }) => windowsOptions?.hostProcess,
        'must not set securityContext.windowsOptions.hostProcess=true',
      ),
  },
  {
    level: 'restricted',
    title: 'allowPrivilegeEscalation != false',
    find: (spec) =>
      containersWhere(
        spec,
        ({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false,
        'must set securityContext.allowPrivilegeEscalation=false',
      ),
  },
  {
    level: 'restricted',
    title: 'unrestricted capabilities',
    find: (spec) =>
      containersWhere(
        spec,
        ({ securityContext }) => {
          const { drop = [], add = [] } = securityContext?.capabilities ?? {};
          return !drop.includes('ALL') || add.some((name) => name !== 'NET_BIND_SERVICE');
        },
        'must set securityContext.capabilities.drop=["ALL"]',
      ),
  },
  {
    level: 'restricted',
    title: 'restricted volume types',
    find: (spec) =>
      volumesWhere(spec, (volume) => !Object.keys(volume).some((key) => RESTRICTED_VOLUMES.includes(key))),
  },
  {
    level: 'restricted',
    title: 'runAsNonRoot != true',
    find: (spec) =>
      containersWhere(
        spec,
        ({ securityContext }) =>
          (securityContext?.runAsNonRoot ?? spec.securityContext?.runAsNonRoot) !== true,
        'must set securityContext.runAsNonRoot=true',
      ),
  },
  {
    level: 'restricted',
    title: 'runAsUser=0',
    find: (spec) => contextsWhere(spec, ({ runAsUser }) => runAsUser === 0, 'must not set runAsUser=0'),
  },
  {
    level: 'restricted',
    title: 'seccompProfile',
    find: (spec) =>
      containersWhere(
        spec,
        ({ securityContext }) => {
          const type = (securityContext?.seccompProfile ?? spec.securityContext?.seccompProfile)?.type;
          return type !== 'RuntimeDefault' && type !== 'Localhost';
        },
        'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"',
      ),
  },
];

/** What a pod does that the level forbids: `privileged (container "c" must not set ...)`; [] when nothing. */
export function findSecurityViolations(pod: Pod, level: 'baseline' | 'restricted'): readonly string[] {
  const { spec } = pod;
  if (!spec) return [];
  return CHECKS.filter((check) => check.level === 'baseline' || level === 'restricted').flatMap(
    ({ title, find }) => {
      const found = find(spec, pod);
      return found.length === 0 ? [] : [`${title} (${found.join(', ')})`];
    },
  );
}

interface SecurityContextFields {
  readonly seLinuxOptions?: { readonly type?: string; readonly user?: string; readonly role?: string };
  readonly seccompProfile?: { readonly type?: string };
  readonly appArmorProfile?: { readonly type?: string };
  readonly windowsOptions?: { readonly hostProcess?: boolean };
  readonly runAsUser?: number;
}

function containersWhere(
  spec: PodSpec,
  breaks: (container: AnyContainer) => unknown,
  must: string,
): string[] {
  const names = podContainers(spec).flatMap((container) =>
    breaks(container) ? [`"${container.name}"`] : [],
  );
  if (names.length === 0) return [];
  return [`${names.length === 1 ? 'container' : 'containers'} ${names.join(', ')} ${must}`];
}

function contextsWhere(
  spec: PodSpec,
  breaks: (context: SecurityContextFields) => unknown,
  must: string,
): string[] {
  return [
    ...(spec.securityContext && breaks(spec.securityContext) ? [`pod ${must}`] : []),
    ...containersWhere(spec, ({ securityContext }) => securityContext && breaks(securityContext), must),
  ];
}

function volumesWhere(
  spec: PodSpec,
  breaks: (volume: Readonly<Record<string, unknown>>) => boolean,
): string[] {
  const names = (spec.volumes ?? []).flatMap((volume) => (breaks({ ...volume }) ? [`"${volume.name}"`] : []));
  return names.length === 0 ? [] : [`${names.length === 1 ? 'volume' : 'volumes'} ${names.join(', ')}`];
}
