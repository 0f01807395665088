import type { LabHost } from '../test/hosts/lab.ts';

/** Where the administrator's machine has the document of `tkadm apply`. */
export const CLUSTER_FILE = '/root/cluster.yaml';

/** That document: a control plane and the rows of further hosts, as "{address: .., role: worker}". */
export function formatClusterFile(controlPlane: LabHost, rows: readonly string[]): string {
  return `apiVersion: tkadm.io/v1alpha1
kind: Cluster
metadata: {name: bench}
spec:
  ssh: {hostKeys: accept-new}
  hosts:
    - {address: ${controlPlane.address}, role: control-plane}
${rows.map((row) => `    - ${row}`).join('\n')}
`;
}
