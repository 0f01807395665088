import { isApiError } from '../../runtime/api/api-error.ts';
import { NODES } from '../../runtime/api/kinds.ts';
import type { Host } from '../../runtime/base/host.ts';
import {
  type Check,
  JOINS,
  noteFinding,
  type Observation,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';

const CHECK = 'ProductUUID';
const UUID_FILE = '/sys/class/dmi/id/product_uuid';

/** Machines that were copied: what Kubernetes' documentation asks to be different on each. */
export const IDENTITY_CHECKS: readonly Check[] = [
  {
    name: CHECK,
    scopes: JOINS,
    severity: 'warning',
    looksAt: `${UUID_FILE} is that of no other Node; where the client may list Nodes: over SSH, or with such a discovery file`,
    observe: observeProductUuid,
  },
];

/** A machine without firmware tables, as many small boards are, has nothing to compare. */
async function observeProductUuid(host: Host, { api, nodeName }: PreflightInput): Promise<Observation> {
  if (!api) return undefined;
  const uuid = (await host.readFile(UUID_FILE))?.trim().toLowerCase();
  if (!uuid) return undefined;
  try {
    const { items } = await (await api()).list(NODES);
    const twin = items.find(
      ({ metadata, status }) =>
        metadata?.name !== nodeName && status?.nodeInfo?.systemUUID?.toLowerCase() === uuid,
    );
    if (!twin) return [];
    const { name } = twin.metadata ?? {};
    return [
      warningFinding(
        CHECK,
        `the Node "${name}" has the same product UUID: this machine is a copy of it, or was that Node before`,
        `"${UUID_FILE}" and the Node's status.nodeInfo.systemUUID are ${uuid}`,
        `give the machine a UUID of its own; kubectl delete node ${name}, if there is no such machine any more`,
      ),
    ];
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    return [noteFinding(CHECK, 'the product UUID was not compared', 'the client may not list Nodes')];
  }
}
