import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';

/** A Kubernetes version by its numbers: "v1.36.2-rc.0" → 36, 2, "rc.0". */
export interface KubernetesVersion {
  readonly text: string;
  readonly minor: number;
  readonly patch: number;
  readonly preRelease: string;
}

/** undefined for a text that is no version of Kubernetes 1. */
export function parseVersion(text: string): KubernetesVersion | undefined {
  const match = /^v?1\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/.exec(text);
  if (!match) return undefined;
  return { text, minor: Number(match[1]), patch: Number(match[2]), preRelease: match[3] ?? '' };
}

/** Why a version cannot be upgraded to. */
export interface VersionProblem {
  readonly message: string;
  /** With --force it is a warning. */
  readonly isForceable: boolean;
}

export interface VersionQuestion {
  readonly target: KubernetesVersion;
  /** What the cluster's configuration says that runs. */
  readonly cluster: KubernetesVersion;
  /** What this package is made for; default: this one. */
  readonly tool?: KubernetesVersion;
  /** What the nodes' agents are, by the names of their nodes. */
  readonly kubelets: Readonly<Record<string, string>>;
  readonly allowExperimental: boolean;
  readonly allowRC: boolean;
}

/** Oldest minor version of a control plane that is deployed, and how far a kubelet may be behind it. */
const MIN_MINOR = 35;
const MAX_KUBELET_SKEW = 3;

interface Rule {
  readonly isForceable: boolean | ((question: Required<VersionQuestion>) => boolean);
  readonly find: (question: Required<VersionQuestion>) => string | undefined;
}

const onlyPreRelease = ({ target }: Required<VersionQuestion>) => target.preRelease !== '';

/** What kubeadm asks of a version, in its order; one is stricter. */
const RULES: readonly Rule[] = [
  {
    isForceable: false,
    find: ({ target }) =>
      target.minor < MIN_MINOR ? `it is older than v1.${MIN_MINOR}.0, the oldest one supported` : undefined,
  },
  {
    isForceable: onlyPreRelease,
    find: ({ target, cluster }) =>
      target.minor > cluster.minor + 1
        ? `it is more than one minor release newer than the cluster, ${cluster.text}`
        : undefined,
  },
  {
    isForceable: onlyPreRelease,
    find: ({ target, cluster }) =>
      target.minor < cluster.minor - 1
        ? `it is more than one minor release older than the cluster, ${cluster.text}`
        : undefined,
  },
  {
    isForceable: onlyPreRelease,
    find: ({ target, tool }) =>
      target.minor > tool.minor
        ? `it is a newer minor release than this tkadm is made for, ${tool.text}`
        : undefined,
  },
  {
    isForceable: true,
    find: ({ target, tool }) =>
      target.minor === tool.minor && target.patch > tool.patch
        ? `it is newer than this tkadm is made for, ${tool.text}`
        : undefined,
  },
  {
    isForceable: true,
    find: ({ target, tool }) =>
      target.minor < tool.minor
        ? `this tkadm is made for ${tool.text}; upgrade with one of release 1.${target.minor}`
        : undefined,
  },
  {
    // kubeadm does not ask: data and agents of a newer version are nothing that an older one was tried with.
    isForceable: true,
    find: ({ target, cluster }) =>
      target.minor < cluster.minor || (target.minor === cluster.minor && target.patch < cluster.patch)
        ? `it is older than the cluster, ${cluster.text}`
        : undefined,
  },
  {
    isForceable: true,
    find: ({ target, allowExperimental, allowRC }) => {
      if (target.preRelease === '') return undefined;
      if (/^rc\b/.test(target.preRelease))
        return allowRC || allowExperimental
          ? undefined
          : 'it is a release candidate: --allow-release-candidate-upgrades';
      return allowExperimental ? undefined : 'it is a pre-release: --allow-experimental-upgrades';
    },
  },
  {
    isForceable: true,
    find: ({ target, kubelets }) => {
      const old = Object.entries(kubelets).filter(([, text]) => {
        const version = parseVersion(text);
        return version !== undefined && target.minor - version.minor > MAX_KUBELET_SKEW;
      });
      const names = old.map(([node, version]) => `${node} (${version})`).join(', ');
      return old.length > 0
        ? `agents would be more than ${MAX_KUBELET_SKEW} minor releases older than the control plane: ${names}`
        : undefined;
    },
  },
];

/** Everything that speaks against a version. */
export function findVersionProblems(question: VersionQuestion): readonly VersionProblem[] {
  const full = { ...question, tool: question.tool ?? parseVersion(KUBERNETES_VERSION)! };
  return RULES.flatMap(({ find, isForceable }) => {
    const message = find(full);
    if (message === undefined) return [];
    return [{ message, isForceable: typeof isForceable === 'function' ? isForceable(full) : isForceable }];
  });
}
