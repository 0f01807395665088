import { dirname } from 'node:path';
import type { RootfsSource } from '../engine.ts';

/** mount(2) copies one page of options at most. */
const MAX_MOUNT_DATA = 4095;

/** Options of an overlay, and the directory that they are relative to when a page does not hold them otherwise. */
export function buildOverlayData(source: RootfsSource & { kind: 'overlay' }): {
  readonly base?: string;
  readonly data: string;
} {
  const fixed = `upperdir=${escapeOverlay(source.upperDir)},workdir=${escapeOverlay(source.workDir)}`;
  const absolute = `lowerdir=${source.lowerDirs.map(escapeLower).join(':')},${fixed}`;
  if (Buffer.byteLength(absolute) <= MAX_MOUNT_DATA) return { data: absolute };
  const base = commonDirectory(source.lowerDirs);
  const relative = source.lowerDirs.map((path) => escapeLower(path.slice(base.length + 1))).join(':');
  const data = `lowerdir=${relative},${fixed}`;
  if (Buffer.byteLength(data) > MAX_MOUNT_DATA) {
    throw new Error(`overlay of ${source.lowerDirs.length} layers: the options exceed a page`);
  }
  return { base: base === '' ? '/' : base, data };
}

const escapeOverlay = (path: string) => path.replace(/[\\,]/g, '\\$&');
const escapeLower = (path: string) => path.replace(/[\\,:]/g, '\\$&');

function commonDirectory(paths: readonly string[]): string {
  let base = dirname(paths[0] ?? '/');
  while (base !== '/' && !paths.every((path) => path.startsWith(`${base}/`))) base = dirname(base);
  return base === '/' ? '' : base;
}
