import type { DiagnosisRow } from './diagnosis.ts';
import { CERTIFICATE_ROWS } from './rows/certificates.ts';
import { CLUSTER_ROWS } from './rows/cluster.ts';
import { CONTROL_PLANE_ROWS } from './rows/control-plane.ts';
import { IMAGE_ROWS } from './rows/images.ts';
import { MACHINE_ROWS } from './rows/machine.ts';
import { NETWORK_ROWS } from './rows/network.ts';
import { NODE_ROWS } from './rows/nodes.ts';
import { POD_ROWS } from './rows/pods.ts';
import { SCHEDULING_ROWS } from './rows/scheduling.ts';
import { WAY_ROWS } from './rows/ways.ts';

/** Every cause that is known, what others stand on first. */
export const DIAGNOSES: readonly DiagnosisRow[] = [
  ...MACHINE_ROWS,
  ...CERTIFICATE_ROWS,
  ...CONTROL_PLANE_ROWS,
  ...NETWORK_ROWS,
  ...CLUSTER_ROWS,
  ...NODE_ROWS,
  ...WAY_ROWS,
  ...SCHEDULING_ROWS,
  ...IMAGE_ROWS,
  ...POD_ROWS,
];
