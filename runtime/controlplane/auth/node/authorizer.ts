import type { KubeObject } from '../../../api/kinds.ts';
import { kindOf } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { NODE_RULES } from '../bootstrap-policy/node-rules.ts';
import { toPolicyRule } from '../bootstrap-policy/rule-table.ts';
import { nodeNameOf } from '../names.ts';
import { ruleAllows } from '../rbac/rules.ts';
import type { AccessAttributes, Decision } from '../types.ts';
import type { NodeGraph, NodeReference } from './graph.ts';

interface VolumeAttachment extends KubeObject {
  readonly spec?: { readonly nodeName?: string };
}

const VOLUME_ATTACHMENTS = kindOf<VolumeAttachment>('storage.k8s.io/v1', 'VolumeAttachment');
const RULES = NODE_RULES.map(toPolicyRule);
const ALLOWED: Decision = { isAllowed: true, reason: '' };
const READ = ['get', 'list', 'watch'];

type ResourceAttributes = Extract<AccessAttributes, { kind: 'resource' }>;

/** Objects that a node may use only while one of its pods refers to them, with the verbs that it gets then. */
const REFERENCED = [
  { group: '', resource: 'secrets', subresource: '', verbs: READ },
  { group: '', resource: 'configmaps', subresource: '', verbs: READ },
  { group: '', resource: 'persistentvolumeclaims', subresource: '', verbs: ['get'] },
  { group: '', resource: 'persistentvolumeclaims', subresource: 'status', verbs: ['get', 'update', 'patch'] },
  { group: '', resource: 'persistentvolumes', subresource: '', verbs: ['get'] },
  { group: 'resource.k8s.io', resource: 'resourceclaims', subresource: '', verbs: ['get'] },
  { group: '', resource: 'serviceaccounts', subresource: '', verbs: ['get'] },
  { group: '', resource: 'serviceaccounts', subresource: 'token', verbs: ['create'] },
] as const satisfies readonly {
  readonly group: string;
  readonly resource: NodeReference;
  readonly subresource: string;
  readonly verbs: readonly string[];
}[];

/**
 * The Node authorizer: undefined for everyone but a kubelet. What its pods refer to, its own Node, Lease, CSINode
 * and ResourceSlices; the rest by the rules of system:node.
 */
export function authorizeNode(
  { graph, reader }: { readonly graph: NodeGraph; readonly reader: ObjectReader },
  attributes: AccessAttributes,
): Decision | undefined {
  const nodeName = nodeNameOf(attributes.user);
  if (nodeName === undefined) return undefined;
  if (attributes.kind === 'resource') {
    const { group, resource, subresource } = attributes;
    const row = REFERENCED.find((row) => row.resource === resource && row.group === group);
    if (row) return authorizeReferenced(graph, nodeName, attributes);
    switch (group === '' ? resource : `${resource}.${group}`) {
      case 'nodes':
        return authorizeOwnNode(nodeName, attributes);
      case 'pods':
        return authorizePods(graph, nodeName, attributes);
      case 'leases.coordination.k8s.io':
        if (attributes.namespace !== 'kube-node-lease')
          return refuse('can only access leases in the "kube-node-lease" system namespace');
        return authorizeOwn(nodeName, attributes, ['get', 'create', 'update', 'patch', 'delete']);
      case 'csinodes.storage.k8s.io':
        return authorizeOwn(nodeName, attributes, ['get', 'create', 'update', 'patch', 'delete']);
      case 'volumeattachments.storage.k8s.io': {
        const isOwn = reader.get(VOLUME_ATTACHMENTS, attributes.name)?.spec?.nodeName === nodeName;
        if (attributes.verb !== 'get' || subresource !== '')
          return refuse('can only get individual resources of this type');
        return isOwn ? ALLOWED : refuse(`no relationship found between node '${nodeName}' and this object`);
      }
    }
  }
  return RULES.some((rule) => ruleAllows(rule, attributes)) ? ALLOWED : refuse('');
}

function authorizeReferenced(graph: NodeGraph, nodeName: string, attributes: ResourceAttributes): Decision {
  const { group, resource, subresource, verb, namespace, name } = attributes;
  const row = REFERENCED.find(
    (row) => row.resource === resource && row.group === group && row.subresource === subresource,
  );
  if (!row) return refuse(`cannot access subresource "${subresource}" of resource "${resource}"`);
  const verbs: readonly string[] = row.verbs;
  if (!verbs.includes(verb)) return refuse(`can only ${verbs.join('/')} resources of this type`);
  if (name === '') return refuse('No Object name found');
  if (graph.isReferenced(nodeName, row.resource, namespace, name)) return ALLOWED;
  return refuse(`no relationship found between node '${nodeName}' and this object`);
}

function authorizeOwnNode(nodeName: string, attributes: ResourceAttributes): Decision {
  const { verb, subresource, name } = attributes;
  const isWrite =
    subresource === '' ? ['create', 'update', 'patch'] : subresource === 'status' ? ['update', 'patch'] : [];
  // Whose node is written is NodeRestriction's to judge, as upstream.
  if (isWrite.includes(verb)) return ALLOWED;
  if (subresource !== '') return refuse(`cannot ${verb} subresource "${subresource}" of nodes`);
  if (verb === 'get')
    return name === nodeName
      ? ALLOWED
      : refuse(`node '${nodeName}' cannot read '${name}', only its own Node object`);
  if (verb !== 'list' && verb !== 'watch') return refuse('');
  return isSelected(attributes, `metadata.name=${nodeName}`)
    ? ALLOWED
    : refuse(`node '${nodeName}' cannot read all nodes, only its own Node object`);
}

function authorizePods(graph: NodeGraph, nodeName: string, attributes: ResourceAttributes): Decision {
  const { verb, subresource, namespace, name } = attributes;
  const isOwn = graph.isReferenced(nodeName, 'pods', namespace, name);
  if (subresource === '') {
    if (verb === 'create' || verb === 'delete') return ALLOWED;
    if (verb === 'get')
      return isOwn ? ALLOWED : refuse(`no relationship found between node '${nodeName}' and this object`);
    if (verb !== 'list' && verb !== 'watch') return refuse('');
    if (isOwn || isSelected(attributes, `spec.nodeName=${nodeName}`)) return ALLOWED;
    return refuse(`can only list/watch pods with spec.nodeName field selector`);
  }
  if (subresource === 'status') return verb === 'update' || verb === 'patch' ? ALLOWED : refuse('');
  if (subresource === 'eviction') return verb === 'create' ? ALLOWED : refuse('');
  return refuse('');
}

/** Its own object of this name; a create may not name it yet, NodeRestriction looks then. */
function authorizeOwn(nodeName: string, attributes: ResourceAttributes, verbs: readonly string[]): Decision {
  const { verb, subresource, name } = attributes;
  if (subresource !== '' || !verbs.includes(verb))
    return refuse(`can only ${verbs.join(', ')} this resource`);
  if (verb === 'create' || name === nodeName) return ALLOWED;
  return refuse(`can only access ${attributes.resource} with the same name as the requesting node`);
}

/** A selector that is not known is not held against the node. */
function isSelected(attributes: ResourceAttributes, term: string): boolean {
  if (attributes.fieldSelector === undefined) return true;
  return attributes.fieldSelector.split(',').some((part) => part.replace('==', '=') === term);
}

function refuse(reason: string): Decision {
  return { isAllowed: false, reason };
}
