import type { Container, Pod, ServiceAccount, Volume } from 'kubernetes-types/core/v1.d.ts';
import { SERVICE_ACCOUNTS } from '../../../api/kinds.ts';
import { sleep } from '../../../base/time.ts';
import { collectPodReferences } from '../../auth/node/pod-references.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { isCreateOf, objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
const VOLUME_PREFIX = 'kube-api-access-';
const TOKEN_EXPIRATION_S = 3607;
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
const ENFORCE_SECRETS_ANNOTATION = 'kubernetes.io/enforce-mountable-secrets';
/** As `names.SimpleNameGenerator`: no vowels, nothing that looks alike. */
const SUFFIX_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const LOOKUP_TRIES = 20;
const LOOKUP_INTERVAL_MS = 50;

interface Context {
  readonly reader: ObjectReader;
  readonly randomBytes: (size: number) => Buffer;
}

/** Every pod gets a service account, its pull secrets, and its token at the well-known path. */
export function createServiceAccountPlugin(context: Context): AdmissionPlugin {
  return {
    name: 'ServiceAccount',
    async admit(request) {
      if (!isCreateOf(request, 'pods')) return;
      const pod = objectOf<Pod>(request);
      if (!pod.spec) return;
      if (pod.metadata?.annotations?.[MIRROR_ANNOTATION] !== undefined)
        return refuseCredentials(request, pod);
      pod.spec.serviceAccountName ||= pod.spec.serviceAccount || 'default';
      pod.spec.serviceAccount = pod.spec.serviceAccountName;
      const account = await findAccount(request, pod.spec.serviceAccountName, context.reader);
      if (pod.spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) {
        mountToken(pod, context.randomBytes);
      }
      if (!pod.spec.imagePullSecrets?.length && account.imagePullSecrets?.length) {
        pod.spec.imagePullSecrets = account.imagePullSecrets.map(({ name }) => ({ name }));
      }
      if (account.metadata?.annotations?.[ENFORCE_SECRETS_ANNOTATION] === 'true') {
        limitSecrets(request, pod, account);
      }
    },
  };
}

/** A mirror pod stands for a static pod: it must not draw on anything that the API holds. */
function refuseCredentials(request: AdmissionRequest, pod: Pod): void {
  if (pod.spec?.serviceAccountName) throw refuse(request, 'a mirror pod may not reference service accounts');
  if (collectPodReferences(pod).secrets.size > 0) {
    throw refuse(request, 'a mirror pod may not reference secrets');
  }
  if (pod.spec?.volumes?.some(hasTokenSource)) {
    throw refuse(request, 'a mirror pod may not use ServiceAccountToken volume projections');
  }
}

/** A new namespace's account "default" is made by a controller: wait for it a moment. */
async function findAccount(
  request: AdmissionRequest,
  name: string,
  reader: ObjectReader,
): Promise<ServiceAccount> {
  const tries = name === 'default' ? LOOKUP_TRIES : 1;
  for (let i = 0; i < tries; i += 1) {
    if (i > 0) await sleep(LOOKUP_INTERVAL_MS);
    const account = reader.get(SERVICE_ACCOUNTS, name, request.namespace);
    if (account) return account;
  }
  throw refuse(
    request,
    `error looking up service account ${request.namespace}/${name}: serviceaccount "${name}" not found`,
  );
}

function hasTokenSource(volume: Volume): boolean {
  return volume.projected?.sources?.some((source) => source.serviceAccountToken) ?? false;
}

function mountToken(pod: Pod, randomBytes: (size: number) => Buffer): void {
  const spec = pod.spec!;
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const without = containers.filter(
    (container) => !container.volumeMounts?.some(({ mountPath }) => mountPath === MOUNT_PATH),
  );
  if (without.length === 0) return;
  const existing = spec.volumes?.find(({ name }) => name.startsWith(VOLUME_PREFIX));
  const name = existing?.name ?? `${VOLUME_PREFIX}${randomSuffix(randomBytes)}`;
  for (const container of without) addMount(container, name);
  if (!existing) spec.volumes = [...(spec.volumes ?? []), buildTokenVolume(name)];
}

function addMount(container: Container, name: string): void {
  container.volumeMounts = [
    ...(container.volumeMounts ?? []),
    { name, readOnly: true, mountPath: MOUNT_PATH },
  ];
}

function randomSuffix(randomBytes: (size: number) => Buffer): string {
  return [...randomBytes(5)].map((byte) => SUFFIX_ALPHABET[byte % SUFFIX_ALPHABET.length]).join('');
}

function buildTokenVolume(name: string): Volume {
  const caItem = { key: 'ca.crt', path: 'ca.crt' };
  const namespaceItem = {
    path: 'namespace',
    fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' },
  };
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: TOKEN_EXPIRATION_S, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [caItem] } },
        { downwardAPI: { items: [namespaceItem] } },
      ],
    },
  };
}

function limitSecrets(request: AdmissionRequest, pod: Pod, account: ServiceAccount): void {
  const mountable = new Set(account.secrets?.map(({ name }) => name));
  for (const secret of collectPodReferences(pod).secrets) {
    const isPullSecret = account.imagePullSecrets?.some(({ name }) => name === secret);
    if (mountable.has(secret) || isPullSecret) continue;
    const { name } = account.metadata ?? {};
    throw refuse(
      request,
      `secret "${secret}" is not allowed because service account ${name} does not reference that secret`,
    );
  }
}
