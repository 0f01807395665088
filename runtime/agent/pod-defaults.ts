import type * as core from 'kubernetes-types/core/v1.d.ts';
import { type AgentPod, type Container, isSidecar } from './pod.ts';

/** The same pod with the defaults of core/v1 filled in, as the API server does for pods from clients. */
export function applyPodDefaults(pod: AgentPod): AgentPod {
  const { spec } = pod;
  return {
    ...pod,
    spec: {
      ...spec,
      restartPolicy: spec.restartPolicy ?? 'Always',
      dnsPolicy: spec.dnsPolicy ?? 'ClusterFirst',
      terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds ?? 30,
      securityContext: spec.securityContext ?? {},
      schedulerName: spec.schedulerName ?? 'default-scheduler',
      enableServiceLinks: spec.enableServiceLinks ?? true,
      ...(spec.volumes ? { volumes: spec.volumes.map(defaultVolume) } : {}),
      ...(spec.initContainers
        ? { initContainers: spec.initContainers.map((container) => defaultContainer(container, spec)) }
        : {}),
      containers: spec.containers.map((container) => defaultContainer(container, spec)),
    },
  };
}

function defaultContainer(container: Container, spec: core.PodSpec): Container {
  return {
    ...container,
    resources: defaultResources(container.resources ?? {}),
    terminationMessagePath: container.terminationMessagePath ?? '/dev/termination-log',
    terminationMessagePolicy: container.terminationMessagePolicy ?? 'File',
    imagePullPolicy: container.imagePullPolicy ?? defaultPullPolicy(container.image ?? ''),
    ...(container.ports ? { ports: container.ports.map((port) => defaultPort(port, spec)) } : {}),
    ...(isSidecar(container) ? { restartPolicy: 'Always' } : {}),
    ...defaultProbes(container),
  };
}

function defaultResources(resources: core.ResourceRequirements): core.ResourceRequirements {
  if (!resources.limits) return resources;
  return { ...resources, requests: { ...resources.limits, ...resources.requests } };
}

/** "Always" for ":latest" or no tag, else "IfNotPresent". */
export function defaultPullPolicy(image: string): 'Always' | 'IfNotPresent' {
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^/:]+)$/.exec(image)?.[1];
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function defaultPort(port: core.ContainerPort, spec: core.PodSpec): core.ContainerPort {
  const hostPort = port.hostPort ?? (spec.hostNetwork ? port.containerPort : undefined);
  return { ...port, protocol: port.protocol ?? 'TCP', ...(hostPort ? { hostPort } : {}) };
}

function defaultProbes(container: Container): Partial<Container> {
  const probes: Partial<Container> = {};
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    const probe = container[name];
    if (probe) probes[name] = defaultProbe(probe);
  }
  return probes;
}

function defaultProbe(probe: core.Probe): core.Probe {
  return {
    ...probe,
    ...(probe.httpGet
      ? {
          httpGet: {
            ...probe.httpGet,
            path: probe.httpGet.path ?? '/',
            scheme: probe.httpGet.scheme ?? 'HTTP',
          },
        }
      : {}),
    timeoutSeconds: probe.timeoutSeconds ?? 1,
    periodSeconds: probe.periodSeconds ?? 10,
    successThreshold: probe.successThreshold ?? 1,
    failureThreshold: probe.failureThreshold ?? 3,
  };
}

function defaultVolume(volume: core.Volume): core.Volume {
  if (volume.hostPath)
    return { ...volume, hostPath: { ...volume.hostPath, type: volume.hostPath.type ?? '' } };
  const sources = ['configMap', 'secret', 'emptyDir', 'projected', 'downwardAPI'] as const;
  const isKnown = sources.some((source) => volume[source] !== undefined) || Object.keys(volume).length > 1;
  return isKnown ? volume : { ...volume, emptyDir: {} };
}
