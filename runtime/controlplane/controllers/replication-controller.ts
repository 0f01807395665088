import type { ReplicationController } from 'kubernetes-types/core/v1.d.ts';
import { REPLICATION_CONTROLLERS } from '../../api/kinds.ts';
import type { Controller } from './controller.ts';
import { createReplicaController } from './replica-set.ts';

/** Keeps `spec.replicas` pods of each ReplicationController; its selector is a plain map. */
export function createReplicationController(): Controller {
  return createReplicaController<ReplicationController>({
    name: 'replicationcontroller-controller',
    kind: REPLICATION_CONTROLLERS,
    selector: ({ spec }) => spec?.selector && { matchLabels: spec.selector },
  });
}
