import type { ResourceRow } from '../../api/resources.ts';
import type { WriteDependencies } from './write-handlers.ts';

/** The row of pods, for the subresources that write a pod by another name. */
export function podsRow({ registry }: WriteDependencies): ResourceRow {
  return registry.state.resource({ group: '', plural: 'pods' }).row;
}
