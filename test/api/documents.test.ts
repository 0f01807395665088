import t from 'tap';
import {
  buildAggregatedDiscovery,
  buildApiGroup,
  buildApiGroupList,
  buildApiResourceList,
  compareVersions,
} from '../../runtime/api/discovery.ts';
import { buildOpenApiV2, buildOpenApiV3, buildOpenApiV3Root } from '../../runtime/api/openapi.ts';
import { RESOURCES } from '../../runtime/api/resources.ts';

const GROUP_VERSIONS = [...new Set(RESOURCES.map(({ group, version }) => `${group}|${version}`))];

interface Aggregated {
  readonly items: readonly {
    readonly versions: readonly {
      readonly resources: readonly { readonly subresources?: readonly unknown[] }[];
    }[];
  }[];
}

t.test('buildAggregatedDiscovery() shows 22 group-versions, 68 resources and 45 subresources', (t) => {
  const both = (['core', 'groups'] as const).flatMap(
    (root) => (buildAggregatedDiscovery(RESOURCES, root) as unknown as Aggregated).items,
  );
  const versions = both.flatMap(({ versions }) => versions);
  const resources = versions.flatMap(({ resources }) => resources);
  t.equal(versions.length, 22);
  t.equal(resources.length, 68);
  t.equal(resources.flatMap(({ subresources = [] }) => subresources).length, 45);
  t.end();
});

t.test('legacy discovery lists the same', (t) => {
  t.match(buildApiGroup(RESOURCES, 'autoscaling'), {
    preferredVersion: { version: 'v2' },
    versions: [{}, {}],
  });
  t.equal(buildApiGroup(RESOURCES, 'nope'), undefined);
  t.equal((buildApiGroupList(RESOURCES)['groups'] as unknown[]).length, 20);
  const lists = GROUP_VERSIONS.map((text) =>
    buildApiResourceList(RESOURCES, text.split('|')[0]!, text.split('|')[1]!),
  );
  t.equal(lists.flatMap((list) => list?.['resources'] as unknown[]).length, 68 + 45);
  t.end();
});

t.test('compareVersions() prefers stable and newer versions', (t) => {
  const sorted = ['v1alpha1', 'foo', 'v1', 'v10beta3', 'v2', 'v1beta2'].sort(compareVersions);
  t.strictSame(sorted, ['v2', 'v1', 'v10beta3', 'v1beta2', 'v1alpha1', 'foo']);
  t.end();
});

/** All "$ref" values below a node. */
function refsOf(node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) =>
    key === '$ref' && typeof value === 'string' ? [value] : refsOf(value),
  );
}

t.test('buildOpenApiV3() closes its references and tells kubectl what it asks for', (t) => {
  for (const text of GROUP_VERSIONS) {
    const [group = '', version = ''] = text.split('|');
    const document = buildOpenApiV3(group, version) as {
      readonly paths: Record<string, unknown>;
      readonly components: { readonly schemas: Record<string, unknown> };
    };
    const names = new Set(
      Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`),
    );
    t.strictSame(
      [...new Set(refsOf(document))].filter((ref) => !names.has(ref)),
      [],
      text,
    );
  }
  const apps = buildOpenApiV3('apps', 'v1');
  t.match(apps, {
    paths: {
      '/apis/apps/v1/namespaces/{namespace}/deployments/{name}': {
        patch: {
          'x-kubernetes-action': 'patch',
          'x-kubernetes-group-version-kind': { group: 'apps', version: 'v1', kind: 'Deployment' },
        },
      },
    },
    components: {
      schemas: {
        'io.k8s.api.apps.v1.Deployment': {
          'x-kubernetes-group-version-kind': [{ group: 'apps', version: 'v1', kind: 'Deployment' }],
        },
        'io.k8s.api.core.v1.PodSpec': {
          properties: {
            containers: { 'x-kubernetes-patch-merge-key': 'name', 'x-kubernetes-patch-strategy': 'merge' },
          },
        },
      },
    },
  });
  t.end();
});

t.test('buildOpenApiV2() closes its references, and operation ids are unique', (t) => {
  const document = buildOpenApiV2() as {
    readonly paths: Record<string, Record<string, { readonly operationId?: string }>>;
    readonly definitions: Record<string, unknown>;
  };
  const names = new Set(Object.keys(document.definitions).map((name) => `#/definitions/${name}`));
  t.strictSame(
    [...new Set(refsOf(document))].filter((ref) => !names.has(ref)),
    [],
  );
  const ids = Object.values(document.paths)
    .flatMap((item) => Object.values(item).map(({ operationId }) => operationId))
    .filter((id) => id !== undefined);
  t.equal(new Set(ids).size, ids.length);
  t.end();
});

t.test('buildOpenApiV3Root() links the documents with their hashes', (t) => {
  t.strictSame(buildOpenApiV3Root(new Map([['apis/apps/v1', 'AB']])), {
    paths: { 'apis/apps/v1': { serverRelativeURL: '/openapi/v3/apis/apps/v1?hash=AB' } },
  });
  t.end();
});
