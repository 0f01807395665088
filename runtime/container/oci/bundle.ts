import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describeFileError, TkadmError } from '../../base/errors.ts';
import { parseProcess, parseSpec } from '../config-schema.ts';
import type { OciProcess, OciSpec } from '../oci-spec.ts';

/** The bundle in a directory, whose config may have another place. @throws OCI_CONFIG naming the field that is wrong */
export function readBundle(
  directory: string,
  config = 'config.json',
): { readonly directory: string; readonly spec: OciSpec } {
  const path = resolve(directory, config);
  return { directory: resolve(directory), spec: parseSpec(readJson(path), path) };
}

/** A process in a file, as `exec --process` takes it. @throws OCI_CONFIG */
export function readProcess(path: string): OciProcess {
  return parseProcess(readJson(path), path);
}

/** @throws OCI_CONFIG for a file that cannot be read or is no JSON */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path === '-' ? 0 : path, 'utf8'));
  } catch (error) {
    throw new TkadmError('OCI_CONFIG', `Cannot read "${path}": ${describeFileError(error)}`, {
      cause: error,
    });
  }
}
