import { isApiError } from '../../api/api-error.ts';
import type { ApiClient } from '../../api/client.ts';
import { type Kind, type KubeObject, kindOf } from '../../api/kinds.ts';
import type { ObjectList } from '../../api/requests.ts';
import { formatCollectionPath } from '../../api/resources.ts';

/** A CustomResourceDefinition as far as finding its objects needs it. */
export interface CustomResourceDefinition extends KubeObject {
  spec?: {
    group: string;
    scope: string;
    names: { plural: string; kind: string };
    versions: { name: string; served: boolean; storage: boolean }[];
  };
  status?: { conditions?: { type: string; status: string }[] };
}

const CUSTOM_RESOURCE_DEFINITIONS = kindOf<CustomResourceDefinition>(
  'apiextensions.k8s.io/v1',
  'CustomResourceDefinition',
);

/** The resource that a definition serves, in its first served version; undefined when it serves none. */
function customKindOf({ spec }: CustomResourceDefinition): Kind<KubeObject> | undefined {
  const version = spec?.versions.find((entry) => entry.served);
  if (!spec || !version) return undefined;
  return {
    group: spec.group,
    version: version.name,
    kind: spec.names.kind,
    plural: spec.names.plural,
    namespaced: spec.scope === 'Namespaced',
    verbs: ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'],
  };
}

/** The resources of all CustomResourceDefinitions; [] when the server has no such API. */
export async function loadCustomKinds(api: ApiClient): Promise<Kind<KubeObject>[]> {
  try {
    const path = formatCollectionPath(CUSTOM_RESOURCE_DEFINITIONS);
    const list = await api.requestJson<ObjectList<CustomResourceDefinition>>('GET', path);
    return list.items.flatMap((definition) => customKindOf(definition) ?? []);
  } catch (error) {
    if (isApiError(error, 'NotFound')) return [];
    throw error;
  }
}
