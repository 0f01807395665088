import { PATHS } from '../../../runtime/base/paths.ts';
import type { DiagnosisRow } from '../diagnosis.ts';
import { containersOf, podName, warningsOf } from './pod-facts.ts';

const PULLING = ['ErrImagePull', 'ImagePullBackOff', 'ErrImageNeverPull', 'InvalidImageName'];

interface ImageCause {
  readonly name: string;
  readonly summary: string;
  readonly pattern: RegExp;
  readonly cause: string;
  readonly fix: string;
}

/** By the words of the pull's failure; the first that fits. */
const CAUSES: readonly ImageCause[] = [
  {
    name: 'image-name-invalid',
    summary: 'The name of an image is no name',
    pattern: /Cannot use image name|InvalidImageName|invalid reference/,
    cause: 'its name is not of the form [registry/]name[:tag]',
    fix: "correct the image's name in the pod, or in what made it",
  },
  {
    name: 'image-never-pulled',
    summary: 'The pod forbids to pull an image that the node does not have',
    pattern: /ErrImageNeverPull|pull policy (of )?Never|ErrImageNeverPull/,
    cause: 'the node does not have it, and imagePullPolicy Never forbids to pull it',
    fix: 'on the node: tkadm image load -i FILE; or set imagePullPolicy: IfNotPresent',
  },
  {
    name: 'registry-unknown',
    summary: "The registry's name has no address",
    pattern: /ENOTFOUND|EAI_AGAIN|no such host|server misbehaving/,
    cause: "the registry's name is not resolved",
    fix: "correct the registry's name, or mend /etc/resolv.conf of the node",
  },
  {
    name: 'registry-unreachable',
    summary: 'The registry is not reached',
    pattern:
      /Cannot reach registry|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|i\/o timeout|no answer within|connection refused/,
    cause: 'its registry is not reached',
    fix: 'curl -v https://REGISTRY/v2/ on the node; without a network: tkadm image load -i FILE there',
  },
  {
    name: 'image-disk-full',
    summary: 'The disk has no room for the layers of an image',
    pattern: /ENOSPC|EDQUOT|no space left on device|the disk has only \d+ (bytes|inodes) left/,
    cause: 'the disk of the node has no room for its layers',
    fix: `on the node: df -h ${PATHS.images}; then make room, for images: tkadm image prune`,
  },
  {
    name: 'image-platform-wrong',
    summary: "The image is not made for the node's architecture",
    pattern: /it is not for linux\/|its index has nothing for Linux|no match for platform/,
    cause: "it is not made for the node's architecture",
    fix: 'build or name an image for it; or bind the pod to nodes that fit: nodeSelector kubernetes.io/arch',
  },
  {
    name: 'image-damaged',
    summary: 'What the registry sends is not the image, or cannot be unpacked',
    pattern:
      /Cannot store content .* its digest is|the registry's (has \d+ bytes|is longer)|Cannot (unpack|add) layer|Cannot read (tar|zstd)|unexpected commit digest|failed size validation/,
    cause: 'what its registry sends is damaged: a layer is not what the manifest says, or cannot be unpacked',
    fix: 'push the image again; a mirror or proxy between may keep damaged bytes',
  },
  {
    name: 'registry-denied',
    summary: 'The registry does not let the node in',
    pattern: /REGISTRY_DENIED|HTTP 401|HTTP 403|unauthorized|denied|authentication required/i,
    cause: 'its registry wants credentials, or does not have it',
    fix: "kubectl create secret docker-registry NAME ...; then imagePullSecrets in the pod; and check the image's name",
  },
  {
    name: 'image-not-found',
    summary: 'The registry has no such image or tag',
    pattern: /not found|HTTP 404|manifest unknown|MANIFEST_UNKNOWN|NAME_UNKNOWN|does not exist/i,
    cause: 'its registry has no such image or tag',
    fix: "correct the image's name or tag; on the node: tkadm image ls",
  },
  {
    name: 'image-pull-failed',
    summary: 'An image cannot be pulled for another reason',
    pattern: /^/,
    cause: 'the pull fails',
    fix: 'on the node: tkadm image pull NAME',
  },
];

/** Why the image of a container is not there. */
export const IMAGE_ROWS: readonly DiagnosisRow[] = CAUSES.map(({ name, summary, cause, fix }) => ({
  name,
  summary,
  of: 'pod',
  confidence: 'certain',
  matches: (pod, cluster) => {
    const status = containersOf(pod).find(({ state }) => PULLING.includes(state?.waiting?.reason ?? ''));
    if (!status) return undefined;
    const { reason = '', message = '' } = state(status);
    const failure = warningsOf(pod, cluster).find(
      ({ message: text = '' }) => text.includes('Failed to pull') && text.includes(status.image),
    );
    // "Back-off" says nothing of why.
    const said = [reason, /^Back-off/.test(message) ? '' : message, failure?.message ?? ''].join(' ').trim();
    if (CAUSES.find((row) => row.pattern.test(said))?.name !== name) return undefined;
    return {
      cause: `image "${status.image}" of pod ${podName(pod)} is not there: ${cause}`,
      fix,
      evidence: [`container ${status.name}: ${said}`],
    };
  },
}));

function state(status: ReturnType<typeof containersOf>[number]) {
  return status.state?.waiting ?? {};
}
