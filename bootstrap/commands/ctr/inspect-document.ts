import type { ImageDetails } from '../../../runtime/cri/image-messages.ts';
import type { CtrSummary, NetworkInfo, VolumeInfo } from '../../../runtime/ctr/ctr-messages.ts';
import type { PortBinding } from '../../../runtime/ctr/ctr-record.ts';
import { familiarName } from './units.ts';

const NEVER = '0001-01-01T00:00:00Z';

/** A container as `docker inspect` shows it; what there is none of is left out. */
export function buildContainerDocument(container: CtrSummary, directory: string) {
  const { id, name, createdAt, config, options, imageId, state } = container;
  return {
    Id: id,
    Created: createdAt,
    Path: config.args[0] ?? '',
    Args: config.args.slice(1),
    State: buildState(container),
    Image: imageId,
    ResolvConfPath: `${directory}/resolv.conf`,
    HostnamePath: `${directory}/hostname`,
    HostsPath: `${directory}/hosts`,
    LogPath: `${directory}/container.log`,
    Name: `/${name}`,
    RestartCount: state.restartCount,
    Driver: 'overlay2',
    Platform: 'linux',
    HostConfig: buildHostConfig(container),
    GraphDriver: {
      Name: 'overlay2',
      Data: {
        LowerDir: container.lowerDirs.join(':'),
        UpperDir: `${directory}/upper`,
        WorkDir: `${directory}/work`,
      },
    },
    Mounts: container.mounts.map((mount) => ({
      Type: mount.type,
      ...(mount.name === undefined ? {} : { Name: mount.name }),
      Source: mount.source,
      Destination: mount.target,
      ...(mount.type === 'volume' && { Driver: 'local' }),
      Mode: mount.isReadonly ? 'ro' : '',
      RW: !mount.isReadonly,
      Propagation: mount.type === 'bind' ? mount.propagation : '',
    })),
    Config: {
      Hostname: config.hostname,
      Domainname: options.domainname ?? '',
      User: config.user,
      Tty: options.hasTerminal,
      OpenStdin: options.hasStdin,
      StdinOnce: options.isStdinOnce,
      ExposedPorts: Object.fromEntries(config.exposedPorts.map((port) => [port, {}])),
      Env: config.env,
      Cmd: config.command,
      Entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
      Image: options.image,
      Volumes: Object.fromEntries(
        container.mounts.filter(({ type }) => type === 'volume').map(({ target }) => [target, {}]),
      ),
      WorkingDir: config.workingDir,
      Labels: config.labels,
      StopSignal: config.stopSignal,
      ...(options.stopTimeoutS === undefined ? {} : { StopTimeout: options.stopTimeoutS }),
    },
    NetworkSettings: buildNetworkSettings(container),
  };
}

function buildState({ state }: CtrSummary) {
  const { status } = state;
  return {
    Status: status,
    Running: status === 'running' || status === 'paused' || status === 'restarting',
    Paused: status === 'paused',
    Restarting: status === 'restarting',
    OOMKilled: state.isOomKilled,
    Dead: false,
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt || NEVER,
    FinishedAt: state.finishedAt || NEVER,
  };
}

function describeLogLimit({ logLimit }: CtrSummary['options']): Readonly<Record<string, string>> {
  if (logLimit === undefined) return {};
  return { 'max-size': String(logLimit.maxBytes), 'max-file': String(logLimit.maxFiles) };
}

function buildHostConfig({ options, networkMode, mounts }: CtrSummary) {
  const { resources, restart } = options;
  return {
    Binds: mounts
      .filter(({ type }) => type !== 'tmpfs')
      .map(({ name, source, target, isReadonly }) => `${name ?? source}:${target}${isReadonly ? ':ro' : ''}`),
    LogConfig: { Type: 'json-file', Config: describeLogLimit(options) },
    VolumesFrom: (options.volumesFrom ?? []).map(({ container, isReadonly }) =>
      isReadonly ? `${container}:ro` : container,
    ),
    NetworkMode: networkMode,
    PortBindings: portMap(options.ports),
    RestartPolicy: { Name: restart.name, MaximumRetryCount: restart.maximumRetryCount },
    AutoRemove: options.isAutoRemoved,
    CapAdd: options.capAdd,
    CapDrop: options.capDrop,
    Dns: options.dns,
    DnsOptions: options.dnsOptions,
    DnsSearch: options.dnsSearch,
    ExtraHosts: options.extraHosts,
    GroupAdd: options.groups,
    IpcMode: options.ipcMode ?? 'private',
    OomScoreAdj: options.oomScoreAdj ?? 0,
    PidMode: options.pidMode ?? '',
    Privileged: options.isPrivileged,
    PublishAllPorts: options.publishesAll,
    ReadonlyRootfs: options.isReadonly,
    SecurityOpt: describeSecurity(options),
    UTSMode: options.utsMode ?? '',
    ShmSize: options.shmSizeBytes ?? 67108864,
    Sysctls: options.sysctls,
    CpuShares: resources.cpuShares ?? 0,
    Memory: resources.memoryBytes ?? 0,
    MemoryReservation: resources.memoryReservationBytes ?? 0,
    MemorySwap: resources.memorySwapBytes ?? 0,
    NanoCpus: 0,
    CpuPeriod: resources.cpuPeriodUs ?? 0,
    CpuQuota: resources.cpuQuotaUs ?? 0,
    CpusetCpus: resources.cpusetCpus ?? '',
    CpusetMems: resources.cpusetMems ?? '',
    Devices: options.devices.map((device) => ({
      PathOnHost: device.hostPath,
      PathInContainer: device.containerPath,
      CgroupPermissions: device.permissions,
    })),
    PidsLimit: resources.pidsLimit ?? null,
    Ulimits: options.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
  };
}

function describeSecurity(options: CtrSummary['options']): readonly string[] {
  const { seccomp, apparmorProfile, hasNoNewPrivileges, hasOpenPaths } = options;
  return [
    ...(seccomp === undefined ? [] : [`seccomp=${seccomp === 'unconfined' ? seccomp : seccomp.path}`]),
    ...(apparmorProfile === undefined ? [] : [`apparmor=${apparmorProfile}`]),
    ...(hasNoNewPrivileges ? ['no-new-privileges'] : []),
    ...(hasOpenPaths ? ['systempaths=unconfined'] : []),
  ];
}

function buildNetworkSettings({ network, networkMode, config }: CtrSummary) {
  const exposed = Object.fromEntries(config.exposedPorts.map((port) => [port, null]));
  const name = networkMode.startsWith('container:') ? undefined : networkMode;
  const own = {
    IPAddress: network?.address ?? '',
    IPPrefixLen: network?.prefixLength ?? 0,
    Gateway: network?.gateway ?? '',
    MacAddress: network?.mac ?? '',
  };
  return {
    Ports: network === undefined ? {} : { ...exposed, ...portMap(network.ports) },
    ...own,
    Networks: name === undefined ? {} : { [name]: own },
  };
}

function portMap(ports: readonly PortBinding[]) {
  const map: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { containerPort, protocol, hostIp, hostPort, lastHostPort } of ports) {
    const key = `${containerPort}/${protocol}`;
    const port = lastHostPort === undefined ? String(hostPort) : `${hostPort}-${lastHostPort}`;
    const binding = { HostIp: hostIp || '0.0.0.0', HostPort: hostPort === 0 ? '' : port };
    map[key] = [...(map[key] ?? []), binding];
  }
  return map;
}

/** An image as `docker image inspect` shows it. */
export function buildImageDocument(image: ImageDetails) {
  const { id, repoTags, repoDigests, sizeBytes, config } = image;
  return {
    Id: id,
    RepoTags: repoTags.map(familiarName),
    RepoDigests: repoDigests.map(familiarName),
    Author: String(config.author ?? ''),
    Comment: String(config.history?.at(-1)?.['comment'] ?? ''),
    Created: config.created ?? NEVER,
    Config: config.config ?? {},
    Architecture: config.architecture,
    Os: config.os,
    Size: sizeBytes,
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
  };
}

/** A volume as `docker volume inspect` shows it. */
export function buildVolumeDocument({ name, path, createdAt, labels }: VolumeInfo) {
  return {
    CreatedAt: createdAt,
    Driver: 'local',
    Labels: labels,
    Mountpoint: path,
    Name: name,
    Scope: 'local',
  };
}

/** A network as `docker network inspect` shows it. */
export function buildNetworkDocument(network: NetworkInfo) {
  const { name, driver, subnet, gateway, interfaceName, containers } = network;
  return {
    Name: name,
    Id: name,
    Driver: driver,
    Scope: 'local',
    IPAM: { Config: subnet === undefined ? [] : [{ Subnet: subnet, ...(gateway && { Gateway: gateway }) }] },
    Containers: Object.fromEntries(
      containers.map((container) => [
        container.id,
        { Name: container.name, IPv4Address: container.address, MacAddress: container.mac },
      ]),
    ),
    Options: interfaceName === undefined ? {} : { 'com.docker.network.bridge.name': interfaceName },
  };
}
