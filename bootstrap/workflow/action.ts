import type { Alteration } from '../../preflight/finding.ts';
import type { KubeObject } from '../../runtime/api/kinds.ts';
import type { ServiceName } from '../../runtime/host/services.ts';

/** The pod that runs from a manifest. */
export interface StaticPodRun {
  readonly component: string;
  readonly nodeName: string;
  /** Of hashStaticPod. */
  readonly hash: string;
}

/** What is waited for; the performer knows how to look. */
export type WaitTarget =
  | {
      readonly kind: 'http';
      readonly url: string;
      readonly caPem?: string | undefined;
      /** Whose container answers there: when it ends again and again there is no answer to wait for. */
      readonly staticPod?: StaticPodRun | undefined;
    }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'node-registered' | 'node-ready'; readonly nodeName: string }
  | {
      readonly kind: 'node-client';
      readonly kubeconfig: string;
      /** With which the agent asks for its certificate; whether that is signed is looked at meanwhile. */
      readonly bootstrapKubeconfig?: string;
      readonly nodeName: string;
      readonly isReadyNeeded?: boolean;
    }
  | { readonly kind: 'runtime-ready' }
  /** The pod that runs from a manifest: ready, and of that content. */
  | ({ readonly kind: 'static-pod' } & StaticPodRun)
  | {
      readonly kind: 'node-version';
      readonly nodeName: string;
      /** "v1.36.2", as the Node tells it. */
      readonly kubeletVersion: string;
      /** "tkadm://0.1.0" */
      readonly runtimeVersion: string;
    }
  | {
      /** The add-ons' pods of a node: ready, and of that image. */
      readonly kind: 'addon-pods';
      readonly nodeName: string;
      readonly imageId: string;
    };

/** One change of a host or of the cluster, as data. */
export type Action =
  | {
      readonly kind: 'write-file';
      readonly path: string;
      readonly mode: number;
      readonly content: string;
      /** The content must not be shown. */
      readonly secret?: boolean;
      /** It is what another file holds now: a preview does not repeat it. */
      readonly isCopy?: boolean;
    }
  /** Files that count only together, a key and its certificate: no moment has one of them alone for long. */
  | { readonly kind: 'write-files'; readonly files: readonly Extract<Action, { kind: 'write-file' }>[] }
  | { readonly kind: 'make-directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'remove'; readonly path: string }
  | {
      readonly kind: 'run';
      readonly argv: readonly string[];
      readonly summary: string;
      /** What it changes of the machine, as far as that is to be put back. */
      readonly alters?: readonly Alteration[];
      /** Of a repair: the rows of the checks that had not passed before it; absent: all are looked at again. */
      readonly unpassed?: readonly string[];
    }
  /** Puts a file back that was replaced; its content is beside the journal. */
  | {
      readonly kind: 'restore-file';
      readonly path: string;
      /** SHA-256 in hex. */
      readonly digest: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  /** Forgets what was done to this machine. */
  | { readonly kind: 'end-journal' }
  | { readonly kind: 'install-bundle' }
  /** Lays the bundle of this package out beside the one in use. */
  | { readonly kind: 'stage-bundle' }
  | { readonly kind: 'use-bundle'; readonly id: string }
  /** Takes a bundle away that no process runs from. */
  | { readonly kind: 'remove-bundle'; readonly id: string }
  | { readonly kind: 'start-service'; readonly name: ServiceName }
  | { readonly kind: 'stop-service'; readonly name: ServiceName }
  | {
      readonly kind: 'remove-sandboxes';
      /** They are only stopped. */
      readonly areKept?: boolean;
      /** Of a container runtime that is not ours. */
      readonly socketPath?: string;
    }
  | { readonly kind: 'delete-object'; readonly object: KubeObject }
  | { readonly kind: 'delete-node'; readonly nodeName: string; readonly kubeconfig: string }
  | {
      readonly kind: 'apply-object';
      readonly object: KubeObject;
      /** What to do with an object that is there: leave it, or make it like this one. */
      readonly existing: 'keep' | 'replace';
      /** An object of the cluster by name whose removal takes this one with it. */
      readonly owner?: KubeObject;
      /** The object as it was found, for a preview; undefined when it was not there. */
      readonly live?: KubeObject | undefined;
      /** With super-admin.conf, which no RBAC rule binds, when the administrator may not. */
      readonly asSuperAdmin?: boolean;
    }
  | {
      readonly kind: 'patch-object';
      readonly object: KubeObject;
      readonly patch: unknown;
      readonly live?: KubeObject | undefined;
    }
  | {
      readonly kind: 'wait';
      readonly subject: string;
      readonly timeoutMs: number;
      readonly target: WaitTarget;
      /** What to look at when the time is over. */
      readonly hint?: string;
    };

/** The action that writes a pair together; of a single file its own. */
export function writeTogether(files: readonly Extract<Action, { kind: 'write-file' }>[]): readonly Action[] {
  return files.length > 1 ? [{ kind: 'write-files', files }] : files;
}

/** One line for people: "write /etc/kubernetes/admin.conf". */
export function formatAction(action: Action): string {
  switch (action.kind) {
    case 'write-file':
      return `write ${action.path}`;
    case 'write-files':
      return `write ${action.files.map(({ path }) => path).join(' and ')}`;
    case 'make-directory':
      return `create directory ${action.path}`;
    case 'remove':
      return `remove ${action.path}`;
    case 'run':
      return action.summary;
    case 'restore-file':
      return `put ${action.path} back`;
    case 'end-journal':
      return 'forget the journal of this machine';
    case 'install-bundle':
      return 'install the node bundle';
    case 'stage-bundle':
      return 'install the node bundle beside the one in use';
    case 'use-bundle':
      return `take node bundle ${action.id} into use`;
    case 'remove-bundle':
      return `remove node bundle ${action.id}`;
    case 'start-service':
      return `start ${action.name}`;
    case 'stop-service':
      return `stop ${action.name}`;
    case 'remove-sandboxes':
      return `stop ${action.areKept ? '' : 'and remove '}every pod${action.socketPath ? ` of the runtime at ${action.socketPath}` : ''}`;
    case 'delete-object':
      return `delete ${formatObject(action.object)}`;
    case 'delete-node':
      return `delete Node ${action.nodeName}`;
    case 'apply-object':
      return `apply ${formatObject(action.object)}`;
    case 'patch-object':
      return `patch ${formatObject(action.object)}`;
    case 'wait':
      return `wait for ${action.subject}`;
  }
}

/** "ConfigMap kube-system/kubeadm-config" */
export function formatObject(object: KubeObject): string {
  const { namespace, name } = object.metadata ?? {};
  return `${object.kind} ${namespace ? `${namespace}/` : ''}${name}`;
}
