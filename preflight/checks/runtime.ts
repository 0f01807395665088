import { formatError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { OTHER_CRI_SOCKETS, PATHS } from '../../runtime/base/paths.ts';
import {
  type Check,
  type CriProbe,
  errorFinding,
  type Finding,
  isUpstream,
  NODES,
  noteFinding,
  type Observation,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { parseUnixListeners } from '../parse-network.ts';
import { findSocketHolders, formatProcess } from '../processes.ts';

const PULL_ATTEMPTS = 5;
const PULL_TIMEOUT_MS = 15 * 60_000;
/** Where containerd says how it makes cgroups. */
const CONTAINERD_CONFIG = '/etc/containerd/config.toml';

/** The container runtime: ours comes with the bundle, somebody else's must be there and fit. */
export const RUNTIME_CHECKS: readonly Check[] = [
  {
    name: 'CRI',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded:
        'our own runtime comes with the bundle: nothing else may listen at its socket; a criSocket of somebody else must answer RuntimeReady',
      upstream: 'the socket answers RuntimeReady (NetworkReady comes later)',
    },
    observe: observeCri,
  },
  {
    name: 'ContainerRuntimeVersion',
    scopes: [...NODES, 'upgrade'],
    severity: 'error',
    looksAt: {
      embedded: 'our own runtime has every call; one of somebody else must have RuntimeConfig',
      upstream: 'the runtime has the RuntimeConfig call, which tells its cgroup driver',
    },
    observe: observeVersion,
  },
  {
    name: 'CgroupDriver',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded:
        'our own runtime places cgroups itself; one of somebody else must have the driver of cgroupDriver',
      upstream:
        "the runtime's cgroup driver (RuntimeConfig, else containerd's SystemdCgroup) is the kubelet's",
    },
    observe: observeDriver,
  },
  {
    name: 'ImagePull',
    scopes: ['init', 'join-control-plane', 'upgrade'],
    severity: 'error',
    looksAt: {
      embedded: 'nothing to pull: the images of the control plane are part of the node bundle',
      upstream:
        "every image is there, or is pulled, by imagePullPolicy, serially or in parallel; the runtime's sandbox image is the same pause",
    },
    stage: 'last',
    timeoutMs: PULL_TIMEOUT_MS,
    observe: observeImages,
  },
];

function socketOf({ criSocket }: PreflightInput): string {
  return (criSocket ?? `unix://${PATHS.runtimeSocket}`).replace(/^unix:\/\//, '');
}

function isOwnSocket(input: PreflightInput): boolean {
  return socketOf(input) === PATHS.runtimeSocket;
}

/** Opens the runtime, asks it, and closes it. */
async function ask<T>(input: PreflightInput, question: (cri: CriProbe) => Promise<T>): Promise<T> {
  if (!input.openCri) throw new Error('it cannot be asked from here');
  const cri = input.openCri(socketOf(input));
  try {
    return await question(cri);
  } finally {
    cri.close();
  }
}

async function observeCri(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const path = socketOf(input);
  if (isOwnSocket(input)) return observeOwnSocket(host, path);
  if (!(await host.stat(path))) return [await reportNoSocket(host, path)];
  if (!input.openCri) {
    const reason = 'the container runtime was not asked';
    return [
      warningFinding(
        'CRI',
        reason,
        `"${path}" is there, on a machine whose sockets are not reached from here`,
      ),
    ];
  }
  try {
    const { isReady, reason } = await ask(input, (cri) => cri.status());
    if (isReady) return [];
    return [
      errorFinding(
        'CRI',
        `the container runtime at "${path}" is not ready`,
        reason,
        'systemctl status containerd',
      ),
    ];
  } catch (error) {
    return [
      errorFinding(
        'CRI',
        `the container runtime at "${path}" does not answer CRI v1`,
        formatError(error),
        `grep disabled_plugins ${CONTAINERD_CONFIG}: "cri" must not be in it; then systemctl restart containerd`,
      ),
    ];
  }
}

/** Before init nobody listens there; a socket file without a listener is replaced by our runtime. */
async function observeOwnSocket(host: Host, path: string): Promise<readonly Finding[]> {
  const inodes = parseUnixListeners((await host.readFile('/proc/net/unix')) ?? '', path);
  if (inodes.length === 0) return [];
  const holders = [...(await findSocketHolders(host, inodes)).values()];
  const foreign = holders.find((holder) => !holder.isOwn);
  if (!foreign) return [];
  const reason = `another program listens at the socket of our runtime, "${path}"`;
  return [errorFinding('CRI', reason, formatProcess(foreign), `kill ${foreign.pid}, or stop its service`)];
}

async function reportNoSocket(host: Host, path: string): Promise<Finding> {
  const stats = await Promise.all(OTHER_CRI_SOCKETS.map((socket) => host.stat(socket)));
  const found = OTHER_CRI_SOCKETS.filter((_, i) => stats[i] !== undefined);
  return errorFinding(
    'CRI',
    `there is no container runtime at "${path}"`,
    `the socket is not there; found: ${found.length === 0 ? 'none' : found.join(', ')}`,
    found[0] ? `--cri-socket unix://${found[0]}` : 'apt-get install -y containerd',
  );
}

/** kubeadm reports a runtime that does not answer here too; with CRI in the same run that is said once. */
async function observeVersion(_host: Host, input: PreflightInput): Promise<Observation> {
  if (isOwnSocket(input)) return undefined;
  try {
    return await ask(input, async (cri) => {
      const { name, version } = await cri.version();
      if ((await cri.cgroupDriver()) !== undefined) return [];
      return [
        warningFinding(
          'ContainerRuntimeVersion',
          'the container runtime is older than Kubernetes 1.36 expects',
          `${name} ${version} does not have the RuntimeConfig call`,
          'containerd 2.0 or CRI-O 1.28, or later',
        ),
      ];
    });
  } catch (error) {
    if (input.scope !== 'upgrade') return [];
    const reason = `the container runtime at "${socketOf(input)}" does not answer`;
    return [errorFinding('ContainerRuntimeVersion', reason, formatError(error))];
  }
}

async function observeDriver(host: Host, input: PreflightInput): Promise<Observation> {
  const { cgroupDriver } = input;
  if (isOwnSocket(input) || cgroupDriver === undefined) return undefined;
  const told = await ask(input, (cri) => cri.cgroupDriver()).catch(() => undefined);
  // A kubelet asks the runtime and takes its answer, whatever its own configuration says.
  const isFollowed = isUpstream(input) && told !== undefined;
  const toml = told === undefined ? await host.readFile(CONTAINERD_CONFIG) : undefined;
  const line = toml?.split('\n').findIndex((text) => /^\s*SystemdCgroup\s*=/.test(text)) ?? -1;
  const isSystemd = /=\s*true/.test(toml?.split('\n')[line] ?? '');
  const driver = told ?? (toml === undefined ? undefined : isSystemd ? 'systemd' : 'cgroupfs');
  if (driver === undefined || driver === cgroupDriver) return [];
  const evidence = told
    ? `RuntimeConfig says ${told}`
    : `${CONTAINERD_CONFIG} ${line < 0 ? 'does not set SystemdCgroup' : `has SystemdCgroup = ${isSystemd} in line ${line + 1}`}`;
  const reason = `the runtime's cgroup driver is ${driver}, the node agent's is ${cgroupDriver}`;
  if (isFollowed) return [noteFinding('CgroupDriver', reason, `${evidence}, which the kubelet follows`)];
  return [
    errorFinding(
      'CgroupDriver',
      `${reason}: pods crash some minutes later`,
      evidence,
      `SystemdCgroup = ${cgroupDriver === 'systemd'} in ${CONTAINERD_CONFIG} and systemctl restart containerd, or cgroupDriver: ${driver} in the KubeletConfiguration`,
    ),
  ];
}

async function observeImages(_host: Host, input: PreflightInput): Promise<Observation> {
  const { images, isDryRun } = input;
  if (!images || images.names.length === 0 || isDryRun || isOwnSocket(input)) return undefined;
  return ask(input, async (cri) => {
    const findings = [...(await compareSandboxImage(cri, images.names))];
    if (!images.isSerial) {
      const pulled = images.names.map((name) => ensureImage(cri, name, images.policy));
      return [...findings, ...(await Promise.all(pulled)).flat()];
    }
    for (const name of images.names) findings.push(...(await ensureImage(cri, name, images.policy)));
    return findings;
  });
}

/** Another one is pulled by the runtime itself, which no mirror or pre-loading may have foreseen. */
async function compareSandboxImage(cri: CriProbe, names: readonly string[]): Promise<readonly Finding[]> {
  const wanted = names.find((name) => /\/pause:/.test(name));
  const used = await cri.sandboxImage();
  if (wanted === undefined || used === undefined || used === wanted) return [];
  return [
    warningFinding(
      'ImagePull',
      `the container runtime uses another sandbox image than "${wanted}"`,
      `it says "${used}"`,
      `sandbox_image = "${wanted}" (containerd 2: sandbox, of pinned_images) in ${CONTAINERD_CONFIG}; systemctl restart containerd`,
    ),
  ];
}

async function ensureImage(cri: CriProbe, name: string, policy: string): Promise<readonly Finding[]> {
  if (policy !== 'Always' && (await cri.hasImage(name))) return [];
  if (policy === 'Never') {
    const reason = `the image "${name}" is not there, and imagePullPolicy is Never`;
    return [errorFinding('ImagePull', reason, 'ImageStatus finds none', `ctr -n k8s.io images import FILE`)];
  }
  let last = '';
  for (let attempt = 1; attempt <= PULL_ATTEMPTS; attempt += 1) {
    try {
      await cri.pullImage(name);
      return [];
    } catch (error) {
      last = formatError(error);
    }
  }
  const reason = `the image "${name}" was not pulled in ${PULL_ATTEMPTS} attempts`;
  return [errorFinding('ImagePull', reason, last, `crictl pull ${name}`)];
}
