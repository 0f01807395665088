import {
  buildAggregatedDiscovery,
  buildApiGroup,
  buildApiGroupList,
  buildApiResourceList,
  buildApiVersions,
} from '../../api/discovery.ts';
import { buildOpenApiV2, buildOpenApiV3, buildOpenApiV3Root } from '../../api/openapi.ts';
import type { Documents } from './path-handlers.ts';

/** Discovery and OpenAPI as the schema tables give them. */
export const DOCUMENTS: Documents = {
  aggregatedDiscovery: buildAggregatedDiscovery,
  apiVersions: buildApiVersions,
  groupList: buildApiGroupList,
  group: buildApiGroup,
  resourceList: buildApiResourceList,
  openApiV2: buildOpenApiV2,
  openApiV3Root: buildOpenApiV3Root,
  openApiV3: buildOpenApiV3,
};
