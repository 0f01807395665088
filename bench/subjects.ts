import type { Subject } from './measure.ts';
import { apiEtcdSubject, apiSubject } from './subjects/api.ts';
import { certsSubject } from './subjects/certs.ts';
import { containersSubject } from './subjects/containers.ts';
import { criSubject } from './subjects/cri.ts';
import { initSubject } from './subjects/init.ts';
import { joinSubject } from './subjects/join.ts';
import { memorySubject } from './subjects/memory.ts';
import { podsSubject } from './subjects/pods.ts';
import { sizesSubject } from './subjects/sizes.ts';

/** What `npm run bench` measures, in this order. */
export const SUBJECTS: readonly Subject[] = [
  initSubject,
  joinSubject,
  containersSubject,
  criSubject,
  podsSubject,
  apiSubject,
  apiEtcdSubject,
  memorySubject,
  certsSubject,
  sizesSubject,
];
