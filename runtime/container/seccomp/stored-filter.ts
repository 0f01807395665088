import { arch } from 'node:os';
import { TkadmError } from '../../base/errors.ts';
import type { StoredFilter } from '../launch-bundle.ts';
import type { OciSpec } from '../oci-spec.ts';
import { encodeBpf } from './bpf.ts';
import { compileSeccomp } from './compile.ts';

/** The filter of a spec for this machine; undefined when it has none. @throws UNSUPPORTED */
export function storeFilter(spec: OciSpec): StoredFilter | undefined {
  const profile = spec.linux?.seccomp;
  if (profile === undefined) return undefined;
  const architecture = arch();
  if (architecture !== 'x64' && architecture !== 'arm64') {
    throw new TkadmError('UNSUPPORTED', `Cannot filter system calls: architecture "${architecture}"`);
  }
  const { flags, program } = compileSeccomp(profile, architecture);
  return { flags, program: encodeBpf(program).toString('base64') };
}
