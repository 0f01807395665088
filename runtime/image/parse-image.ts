import { TkadmError } from '../base/errors.ts';
import type { OciDescriptor, OciImageConfig, OciManifest } from './oci-image.ts';
import { isIndex, type ManifestDocument } from './platform.ts';
import { SHA256_DIGEST } from './reference.ts';

/** The longest manifest or index that is read: distribution-spec "Pushing Manifests" wants 4 MiB to be possible. */
export const MAX_MANIFEST_BYTES = 4 << 20;
/** The longest image configuration that is read. */
export const MAX_CONFIG_BYTES = 8 << 20;
/** More layers than overlayfs can put on each other (500). */
const MAX_LAYERS = 500;

/** Layers that hold a tar: those of OCI and of Docker, also ones that registries do not distribute. */
const LAYER_TYPE =
  /^application\/vnd\.(oci\.image\.layer(\.nondistributable)?\.v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?)$/;

type Fields = Readonly<Record<string, unknown>>;

/**
 * An image manifest, every field that is used checked (image-spec manifest.md).
 * @throws IMAGE_INVALID naming the image and what is wrong.
 */
export function parseManifest(bytes: Uint8Array, name: string): OciManifest {
  const manifest = parseObject(bytes, name, 'manifest');
  const layers = manifest['layers'];
  if (manifest['schemaVersion'] === 1) throw invalid(name, "its manifest is of Docker's old schema 1");
  checkDescriptor(manifest['config'], name, 'its configuration');
  if (!Array.isArray(layers)) throw invalid(name, 'its manifest has no layers');
  if (layers.length > MAX_LAYERS)
    throw invalid(name, `it has ${layers.length} layers, ${MAX_LAYERS} are possible`);
  for (const [index, layer] of layers.entries()) {
    const { mediaType } = checkDescriptor(layer, name, `layer ${index + 1}`);
    if (!LAYER_TYPE.test(mediaType)) throw invalid(name, `layer ${index + 1} is of the type "${mediaType}"`);
  }
  return manifest as unknown as OciManifest;
}

/** A manifest or an index, as it came. @throws IMAGE_INVALID */
export function parseManifestDocument(bytes: Uint8Array, name: string): ManifestDocument {
  const document = parseObject(bytes, name, 'manifest') as ManifestDocument;
  if (!isIndex(document, undefined)) return document;
  if (!Array.isArray(document.manifests)) throw invalid(name, 'its index has no manifests');
  for (const row of document.manifests) {
    checkDescriptor(row, name, 'a manifest of its index');
    if (row.platform !== undefined && !isFields(row.platform))
      throw invalid(name, 'its index has a damaged platform');
  }
  return document;
}

/** An image configuration, every field that is used checked (image-spec config.md). @throws IMAGE_INVALID */
export function parseImageConfig(bytes: Uint8Array, name: string): OciImageConfig {
  const config = parseObject(bytes, name, 'configuration');
  const rootfs = config['rootfs'];
  const diffIds = isFields(rootfs) ? rootfs['diff_ids'] : undefined;
  if (!Array.isArray(diffIds) || !diffIds.every((id) => typeof id === 'string' && SHA256_DIGEST.test(id))) {
    throw invalid(name, 'its configuration has no list of layers in "rootfs.diff_ids"');
  }
  const execution = config['config'] ?? {};
  if (!isFields(execution)) throw invalid(name, '"config" of its configuration is no object');
  for (const [field, isRight] of Object.entries(EXECUTION_FIELDS)) {
    const value = execution[field];
    if (value === undefined || value === null || isRight(value)) continue;
    throw invalid(name, `"config.${field}" of its configuration is of the wrong kind`);
  }
  const history = config['history'] ?? [];
  if (!Array.isArray(history) || !history.every(isFields)) {
    throw invalid(name, '"history" of its configuration is no list');
  }
  return config as unknown as OciImageConfig;
}

/** The same number of layers in both, none unknown. @throws IMAGE_INVALID */
export function checkLayerCount({ layers }: OciManifest, { rootfs }: OciImageConfig, name: string): void {
  if (layers.length === rootfs.diff_ids.length) return;
  throw invalid(
    name,
    `its manifest has ${layers.length} layers, its configuration ${rootfs.diff_ids.length}`,
  );
}

const isText = (value: unknown) => typeof value === 'string';
const isTexts = (value: unknown) => Array.isArray(value) && value.every(isText);

const EXECUTION_FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  User: isText,
  Env: isTexts,
  Entrypoint: isTexts,
  Cmd: isTexts,
  WorkingDir: isText,
  StopSignal: isText,
  Labels: (value) => isFields(value) && Object.values(value).every(isText),
  Volumes: isFields,
  ExposedPorts: isFields,
  OnBuild: isTexts,
  Shell: isTexts,
  Healthcheck: isFields,
};

function checkDescriptor(value: unknown, name: string, what: string): OciDescriptor {
  if (!isFields(value)) throw invalid(name, `${what} has no descriptor`);
  const { digest, size, mediaType } = value;
  if (typeof digest !== 'string' || !SHA256_DIGEST.test(digest)) {
    throw invalid(name, `${what} has the digest "${String(digest).slice(0, 80)}": only sha256 is supported`);
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid(name, `${what} has no size`);
  if (typeof mediaType !== 'string') throw invalid(name, `${what} has no media type`);
  return value as unknown as OciDescriptor;
}

function parseObject(bytes: Uint8Array, name: string, what: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw invalid(name, `its ${what} is no JSON`, error);
  }
  if (!isFields(value)) throw invalid(name, `its ${what} is no object`);
  return value;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(name: string, state: string, cause?: unknown): TkadmError {
  return new TkadmError('IMAGE_INVALID', `Cannot use image "${name}": ${state}`, { cause });
}
