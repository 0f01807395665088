import { randomBytes } from 'node:crypto';
import type { KubeObject } from '../../../../runtime/api/kinds.ts';
import { findResourceByKind } from '../../../../runtime/api/resources.ts';
import { createAdmissionPlugins } from '../../../../runtime/controlplane/admission/plugins.ts';
import { createStrategies } from '../../../../runtime/controlplane/admission/strategies.ts';
import type {
  AdmissionOptions,
  AdmissionPlugin,
  AdmissionRequest,
} from '../../../../runtime/controlplane/admission/types.ts';
import { createAuthorizer } from '../../../../runtime/controlplane/auth/authorizer.ts';
import type { UserInfo } from '../../../../runtime/controlplane/auth/types.ts';
import { MemoryReader } from '../memory-reader.ts';

const ADMIN: UserInfo = { name: 'admin', groups: ['system:masters', 'system:authenticated'] };
const NOW = new Date('2026-01-02T03:04:05Z');

/** A write: CREATE without `old`, UPDATE with both, DELETE with `old` alone. */
export interface Write {
  readonly object?: KubeObject;
  readonly old?: KubeObject;
  readonly subresource?: string;
  readonly user?: UserInfo;
  readonly isDryRun?: boolean;
  /** The resource where it is not that of the object (token requests). */
  readonly of?: KubeObject;
}

/** Every plugin and strategy over a reader in memory, run as the API server does. */
export class Admission {
  readonly reader = new MemoryReader();
  readonly chain: readonly AdmissionPlugin[];

  constructor(more: Partial<AdmissionOptions> = {}) {
    const { reader } = this;
    const authorizer = createAuthorizer({ reader, modes: ['Node', 'RBAC'] });
    for (const name of ['default', 'kube-system']) {
      reader.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
      reader.put({
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: 'default', namespace: name },
      });
    }
    const options = {
      reader,
      authorizer,
      enabled: ['NodeRestriction'],
      serviceCidrs: ['10.96.0.0/12'],
      now: () => NOW,
      randomBytes,
      ...more,
    };
    this.chain = [...createAdmissionPlugins(options), ...createStrategies(options)];
  }

  request(write: Write): AdmissionRequest {
    const subject = write.of ?? write.object ?? write.old!;
    const resource = findResourceByKind(subject.apiVersion ?? '', subject.kind ?? '');
    if (!resource) throw new Error(`no resource for ${subject.kind}`);
    return {
      operation: write.object ? (write.old ? 'UPDATE' : 'CREATE') : 'DELETE',
      resource,
      subresource: write.subresource ?? '',
      namespace: resource.namespaced ? (subject.metadata?.namespace ?? '') : '',
      name: subject.metadata?.name ?? '',
      object: write.object ? structuredClone(write.object) : undefined,
      oldObject: write.old,
      user: write.user ?? ADMIN,
      isDryRun: write.isDryRun ?? false,
    };
  }

  /** Runs the chain; the object as it would be stored. */
  async run<T extends KubeObject>(write: Write): Promise<T> {
    const request = this.request(write);
    try {
      for (const plugin of this.chain) await plugin.admit?.(request);
      for (const plugin of this.chain) await plugin.validate?.(request);
    } catch (error) {
      for (const plugin of this.chain.toReversed()) await plugin.undo?.(request);
      throw error;
    }
    return request.object as T;
  }

  /** Runs the chain and stores the object. */
  async create<T extends KubeObject>(object: T, user?: UserInfo): Promise<T> {
    const stored = await this.run<T>({ object, ...(user ? { user } : {}) });
    this.reader.put(stored);
    return stored;
  }
}
