import type { Subject } from './measure.ts';
import { apiEtcdSubject, apiSubject } from './subjects/api.ts';
import { certsSubject } from './subjects/certs.ts';
import { containersSubject } from './subjects/containers.ts';
import { criSubject } from './subjects/cri.ts';
import { crowdSubject } from './subjects/crowd.ts';
import { faultsSubject } from './subjects/faults.ts';
import { fleetSubject } from './subjects/fleet.ts';
import { imagesSubject } from './subjects/images.ts';
import { initSubject } from './subjects/init.ts';
import { joinSubject } from './subjects/join.ts';
import { leakSubject } from './subjects/leak.ts';
import { memorySubject } from './subjects/memory.ts';
import { podsSubject } from './subjects/pods.ts';
import { sizesSubject } from './subjects/sizes.ts';

/** What `npm run bench` measures, in this order. */
export const SUBJECTS: readonly Subject[] = [
  initSubject,
  joinSubject,
  fleetSubject,
  faultsSubject,
  containersSubject,
  criSubject,
  crowdSubject,
  leakSubject,
  imagesSubject,
  podsSubject,
  apiSubject,
  apiEtcdSubject,
  memorySubject,
  certsSubject,
  sizesSubject,
];
