import type {
  Container,
  HostPathVolumeSource,
  Pod,
  Probe,
  Volume,
  VolumeMount,
} from 'kubernetes-types/core/v1.d.ts';
import type { ComponentInput, ControlPlaneInput, NameValue } from '../input.ts';

/** A directory or file of the host in a static pod. */
export interface Mount {
  readonly name: string;
  readonly hostPath: string;
  readonly mountPath?: string;
  readonly isReadOnly: boolean;
  readonly pathType: string;
}

/** A path that tells whether a component is well. */
export interface ProbeEndpoint {
  /** Left out: every address, so the kubelet asks the pod's own. */
  readonly host?: string | undefined;
  readonly port: number;
  readonly scheme: 'HTTP' | 'HTTPS';
  readonly livenessPath: string;
  readonly readinessPath?: string | undefined;
  readonly startupPath: string;
}

export interface StaticPodSpec {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly requests: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  readonly envs: ComponentInput['extraEnvs'];
  readonly probe: ProbeEndpoint;
  /** Ask often from the start: the embedded programs answer within a second. */
  readonly isQuick: boolean;
  readonly healthCheckTimeoutMs: number;
}

const PROBE_PORT = 'probe-port';

/** A static pod of the control plane, in the form that kubeadm gives it. */
export function buildStaticPod(spec: StaticPodSpec): Pod {
  const mounts = [...spec.mounts].sort((a, b) => (a.name < b.name ? -1 : 1));
  const container: Container = {
    name: spec.name,
    image: spec.image,
    imagePullPolicy: 'IfNotPresent',
    command: [...spec.command],
    ports: [{ name: PROBE_PORT, containerPort: spec.probe.port, protocol: 'TCP' }],
    ...(spec.envs.length > 0 ? { env: spec.envs.map((env) => ({ ...env })) } : {}),
    resources: { requests: { ...spec.requests } },
    ...buildProbes(spec),
    ...(mounts.length > 0 ? { volumeMounts: mounts.map(toVolumeMount) } : {}),
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: spec.name,
      namespace: 'kube-system',
      labels: { component: spec.name, tier: 'control-plane' },
      ...(spec.annotations ? { annotations: { ...spec.annotations } } : {}),
    },
    spec: {
      containers: [container],
      hostNetwork: true,
      priority: 2_000_001_000,
      priorityClassName: 'system-node-critical',
      securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
      ...(mounts.length > 0 ? { volumes: mounts.map(toVolume) } : {}),
    },
    status: {},
  };
}

/** Mounts of a component with the user's over them, by name. */
export function mergeMounts(
  mounts: readonly Mount[],
  extraVolumes: ComponentInput['extraVolumes'],
): readonly Mount[] {
  const extra = extraVolumes.map((volume) => ({
    name: volume.name,
    hostPath: volume.hostPath,
    mountPath: volume.mountPath,
    isReadOnly: volume.readOnly ?? false,
    pathType: volume.pathType ?? '',
  }));
  return [...mounts.filter((mount) => !extra.some((other) => other.name === mount.name)), ...extra];
}

/** The proxy variables with the user's variables over them. */
export function mergeEnvs(
  proxyEnvs: readonly NameValue[],
  extraEnvs: ComponentInput['extraEnvs'],
): ComponentInput['extraEnvs'] {
  const named = new Set(extraEnvs.map((env) => env.name));
  return [...proxyEnvs.filter((env) => !named.has(env.name)), ...extraEnvs];
}

/** The host to probe for a bind address; undefined when it is every address. */
export function probeHost(bindAddress: string): string | undefined {
  return ['0.0.0.0', '::', ''].includes(bindAddress) ? undefined : bindAddress;
}

/** A read-only directory of the host that is made when it is not there. */
export function directoryMount(name: string, hostPath: string, isReadOnly = true): Mount {
  return { name, hostPath, isReadOnly, pathType: 'DirectoryOrCreate' };
}

/** The fields that each component's pod takes from the configuration as they are. */
export function commonSpec({ tkadm, timeouts }: ControlPlaneInput) {
  return {
    isQuick: tkadm.engine === 'embedded',
    healthCheckTimeoutMs: timeouts.controlPlaneComponentHealthCheckMs,
  };
}

function buildProbes({ probe, isQuick, healthCheckTimeoutMs }: StaticPodSpec) {
  const get = (path: string): Pick<Probe, 'httpGet' | 'timeoutSeconds'> => ({
    httpGet: {
      ...(probe.host ? { host: probe.host } : {}),
      path,
      port: PROBE_PORT,
      scheme: probe.scheme,
    },
    timeoutSeconds: 15,
  });
  const startupPeriod = isQuick ? 1 : 10;
  const delay = { initialDelaySeconds: 10 };
  return {
    livenessProbe: { ...get(probe.livenessPath), ...delay, periodSeconds: 10, failureThreshold: 8 },
    ...(probe.readinessPath
      ? { readinessProbe: { ...get(probe.readinessPath), periodSeconds: 1, failureThreshold: 3 } }
      : {}),
    startupProbe: {
      ...get(probe.startupPath),
      ...(isQuick ? {} : delay),
      periodSeconds: startupPeriod,
      failureThreshold: Math.max(1, Math.ceil(healthCheckTimeoutMs / 1000 / startupPeriod)),
    },
  };
}

function toVolumeMount(mount: Mount): VolumeMount {
  return {
    name: mount.name,
    mountPath: mount.mountPath ?? mount.hostPath,
    ...(mount.isReadOnly ? { readOnly: true } : {}),
  };
}

function toVolume(mount: Mount): Volume {
  const hostPath: HostPathVolumeSource = {
    path: mount.hostPath,
    ...(mount.pathType ? { type: mount.pathType as 'File' } : {}),
  };
  return { name: mount.name, hostPath };
}
