import type { Host } from '../../runtime/base/host.ts';
import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';
import {
  type Check,
  CONTROL_PLANES,
  errorFinding,
  type Finding,
  isUpstream,
  NODES,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { readScript } from '../observer.ts';

/** A kubelet may be this many minor releases older than its API server, never newer. */
const MAX_KUBELET_SKEW = 3;
/** A program that says its version has to start first. */
const VERSION_TIMEOUT_MS = 5_000;

/** Versions that must fit, and the node agent's service. */
export const KUBELET_CHECKS: readonly Check[] = [
  {
    name: 'KubernetesVersion',
    scopes: CONTROL_PLANES,
    severity: 'warning',
    looksAt: 'the minor release of kubernetesVersion is not newer than the one this tkadm was made for',
    observe: async (_host, { kubernetesVersion }) => {
      const wanted = parseMinor(kubernetesVersion);
      const own = parseMinor(KUBERNETES_VERSION)!;
      if (wanted === undefined || wanted <= own) return [];
      return [
        warningFinding(
          'KubernetesVersion',
          `Kubernetes ${kubernetesVersion} is newer than what this tkadm knows`,
          `tkadm was made for ${KUBERNETES_VERSION}`,
          'a newer tkadm',
        ),
      ];
    },
  },
  {
    name: 'KubeletVersion',
    scopes: [...NODES, 'upgrade'],
    severity: 'error',
    looksAt: {
      embedded: `our own agent, ${KUBERNETES_VERSION}, against kubernetesVersion`,
      upstream: '`kubelet --version` against kubernetesVersion',
    },
    observe: observeVersion,
  },
  {
    name: 'Service-kubelet',
    scopes: NODES,
    severity: 'warning',
    looksAt: {
      embedded: 'no enabled unit "kubelet", which would start a second agent at the next boot',
      upstream: 'the unit "kubelet" is there and enabled',
    },
    observe: observeService,
  },
];

async function observeVersion(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const { kubernetesVersion } = input;
  const target = parseMinor(kubernetesVersion);
  if (!isUpstream(input))
    return judgeSkew('the agent of this tkadm', KUBERNETES_VERSION, { kubernetesVersion });
  const { stdout, exitCode } = await host.run(['kubelet', '--version'], { timeoutMs: VERSION_TIMEOUT_MS });
  const version = /v\d+\.\d+\.\S+/.exec(stdout)?.[0];
  if (exitCode !== 0 || version === undefined) {
    const evidence =
      exitCode === 127 ? 'it is not in PATH' : `it ends with code ${exitCode}: ${stdout.trim()}`;
    return [
      errorFinding(
        'KubeletVersion',
        '`kubelet --version` does not tell',
        evidence,
        'apt-get install -y kubelet',
      ),
    ];
  }
  return target === undefined ? [] : judgeSkew('the kubelet', version, { kubernetesVersion });
}

function judgeSkew(
  what: string,
  version: string,
  { kubernetesVersion }: Pick<PreflightInput, 'kubernetesVersion'>,
): readonly Finding[] {
  const target = parseMinor(kubernetesVersion);
  const own = parseMinor(version);
  if (target === undefined || own === undefined || (own <= target && target - own <= MAX_KUBELET_SKEW))
    return [];
  const reason =
    own > target
      ? `${what} is newer than the control plane`
      : `${what} is more than ${MAX_KUBELET_SKEW} minor releases older than the control plane`;
  const evidence = `${version}, and the control plane is ${kubernetesVersion}`;
  return [errorFinding('KubeletVersion', reason, evidence, `a kubelet of release 1.${target}`)];
}

/** "v1.36.2" → 36 */
function parseMinor(version: string | undefined): number | undefined {
  const match = /^v?1\.(\d+)/.exec(version ?? '');
  return match ? Number(match[1]) : undefined;
}

const UNIT_DIRECTORIES = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];

/** Looks at files, as systemd's are: the unit, and the link of the target that wants it. */
const SCRIPT = `for d in ${UNIT_DIRECTORIES.join(' ')}; do [ -e "$d/kubelet.service" ] && echo "unit $d/kubelet.service" && break; done
for d in ${UNIT_DIRECTORIES.join(' ')}; do for f in "$d"/*.wants/kubelet.service; do [ -L "$f" ] && echo "wanted $f"; done; done
[ -x /etc/init.d/kubelet ] && echo "unit /etc/init.d/kubelet"
[ -e /etc/runlevels/default/kubelet ] && echo "wanted /etc/runlevels/default/kubelet"
:`;

async function observeService(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const lines = (await readScript(host, SCRIPT)).split('\n');
  const unit = lines.find((line) => line.startsWith('unit '))?.slice(5);
  const wanted = lines.find((line) => line.startsWith('wanted '))?.slice(7);
  if (!isUpstream(input)) {
    if (wanted === undefined) return [];
    const reason = 'a kubelet is started at boot: two agents would manage the same pods';
    return [
      warningFinding('Service-kubelet', reason, `"${wanted}" is there`, 'systemctl disable --now kubelet'),
    ];
  }
  if (unit === undefined) {
    const reason = 'there is no service "kubelet"';
    return [
      warningFinding(
        'Service-kubelet',
        reason,
        `no unit in ${UNIT_DIRECTORIES.join(', ')}`,
        'apt-get install -y kubelet',
      ),
    ];
  }
  if (wanted !== undefined) return [];
  return [
    {
      ...warningFinding(
        'Service-kubelet',
        'the kubelet is not started at the next boot',
        `"${unit}" is there, and no target wants it`,
        'systemctl enable kubelet.service',
      ),
      repair: [['systemctl', 'enable', 'kubelet.service']],
      alters: [{ kind: 'unit', name: 'kubelet.service' }],
    },
  ];
}
