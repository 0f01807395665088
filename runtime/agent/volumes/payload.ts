import type * as core from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../../base/errors.ts';
import { type FieldContext, readContainerResource, readPodField } from '../downward-api.ts';
import type { ObjectSource } from '../environment.ts';
import type { AgentPod } from '../pod.ts';
import type { Payload, PayloadFile } from './atomic-writer.ts';
import type { TokenSource } from './tokens.ts';

export interface PayloadContext {
  readonly pod: AgentPod;
  readonly objects: ObjectSource;
  readonly tokens: TokenSource;
  readonly fields: FieldContext;
}

type FileMap = Map<string, PayloadFile>;

const DEFAULT_MODE = 0o644;

/** True for volumes whose files come from the API and follow it. */
export function isPayloadVolume(volume: core.Volume): boolean {
  return Boolean(volume.configMap ?? volume.secret ?? volume.projected ?? volume.downwardAPI);
}

/**
 * The files of a configMap, secret, downwardAPI or projected volume as they should be now.
 * @throws AGENT_OBJECT_MISSING when something that is not optional is not there.
 */
export async function buildPayload(volume: core.Volume, context: PayloadContext): Promise<Payload> {
  const files: FileMap = new Map();
  if (volume.configMap) {
    const { defaultMode = DEFAULT_MODE, name = '', items, optional } = volume.configMap;
    await addConfigMap(files, { name, items, optional, defaultMode }, context);
  } else if (volume.secret) {
    const { defaultMode = DEFAULT_MODE, secretName = '', items, optional } = volume.secret;
    await addSecret(files, { name: secretName, items, optional, defaultMode }, context);
  } else if (volume.downwardAPI) {
    addDownward(files, volume.downwardAPI.items ?? [], {
      context,
      defaultMode: volume.downwardAPI.defaultMode ?? DEFAULT_MODE,
    });
  } else if (volume.projected) {
    const defaultMode = volume.projected.defaultMode ?? DEFAULT_MODE;
    for (const source of volume.projected.sources ?? [])
      await addProjection(files, source, { context, defaultMode });
  }
  return files;
}

async function addProjection(
  files: FileMap,
  source: core.VolumeProjection,
  options: { readonly context: PayloadContext; readonly defaultMode: number },
): Promise<void> {
  const { context, defaultMode } = options;
  if (source.configMap) {
    const { name = '', items, optional } = source.configMap;
    return addConfigMap(files, { name, items, optional, defaultMode }, context);
  }
  if (source.secret) {
    const { name = '', items, optional } = source.secret;
    return addSecret(files, { name, items, optional, defaultMode }, context);
  }
  if (source.downwardAPI) return addDownward(files, source.downwardAPI.items ?? [], options);
  if (source.serviceAccountToken) {
    const { path, audience, expirationSeconds } = source.serviceAccountToken;
    const token = await context.tokens.token(context.pod, { audience, expirationSeconds });
    const uid = soleUser(context.pod);
    files.set(path, {
      content: Buffer.from(token, 'utf8'),
      mode:
        uid !== undefined || context.pod.spec.securityContext?.fsGroup !== undefined ? 0o600 : defaultMode,
      uid,
    });
    return;
  }
  const kind = Object.keys(source)[0] ?? 'nothing';
  throw new TkadmError('AGENT_VOLUME_UNSUPPORTED', `Cannot project "${kind}": it is not supported`);
}

/** The one user that all containers run as, if there is one: a token file can then belong to it. */
function soleUser(pod: AgentPod): number | undefined {
  const shared = pod.spec.securityContext?.runAsUser;
  const users = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].map(
    (container) => container.securityContext?.runAsUser ?? shared,
  );
  return users.every((user) => user === users[0]) ? users[0] : undefined;
}

interface KeyedSource {
  readonly name: string;
  readonly items: core.KeyToPath[] | undefined;
  readonly optional: boolean | undefined;
  readonly defaultMode: number;
}

async function addConfigMap(files: FileMap, source: KeyedSource, context: PayloadContext): Promise<void> {
  const map = await context.objects.configMap(context.pod.metadata.namespace, source.name);
  if (!map && !source.optional) throw missing(`configmap "${source.name}" not found`);
  const entries = new Map<string, Uint8Array>();
  for (const [key, text] of Object.entries(map?.data ?? {})) entries.set(key, Buffer.from(text, 'utf8'));
  for (const [key, text] of Object.entries(map?.binaryData ?? {}))
    entries.set(key, Buffer.from(text, 'base64'));
  addKeyed(files, entries, source);
}

async function addSecret(files: FileMap, source: KeyedSource, context: PayloadContext): Promise<void> {
  const secret = await context.objects.secret(context.pod.metadata.namespace, source.name);
  if (!secret && !source.optional) throw missing(`secret "${source.name}" not found`);
  const entries = new Map<string, Uint8Array>();
  for (const [key, text] of Object.entries(secret?.data ?? {})) entries.set(key, Buffer.from(text, 'base64'));
  addKeyed(files, entries, source);
}

function addKeyed(files: FileMap, entries: ReadonlyMap<string, Uint8Array>, source: KeyedSource): void {
  if (!source.items?.length) {
    for (const [key, content] of entries) files.set(key, { content, mode: source.defaultMode });
    return;
  }
  for (const { key, path, mode } of source.items) {
    const content = entries.get(key);
    if (content) files.set(cleanPath(path), { content, mode: mode ?? source.defaultMode });
    else if (!source.optional) throw missing(`references non-existent config key: ${key}`);
  }
}

function addDownward(
  files: FileMap,
  items: readonly core.DownwardAPIVolumeFile[],
  { context, defaultMode }: { readonly context: PayloadContext; readonly defaultMode: number },
): void {
  const { pod, fields } = context;
  for (const { path, mode, fieldRef, resourceFieldRef } of items) {
    const text = fieldRef
      ? readPodField(pod, fieldRef.fieldPath, fields)
      : resourceFieldRef
        ? readContainerResource(pod, resourceFieldRef, { fields })
        : '';
    files.set(cleanPath(path), { content: Buffer.from(text, 'utf8'), mode: mode ?? defaultMode });
  }
}

function cleanPath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (path.startsWith('/') || parts.includes('..') || parts[0]?.startsWith('..')) {
    throw new TkadmError(
      'AGENT_VOLUME',
      `Cannot write volume file "${path}": the path leads out of the volume`,
    );
  }
  return parts.join('/');
}

function missing(message: string): TkadmError {
  return new TkadmError('AGENT_OBJECT_MISSING', message);
}
