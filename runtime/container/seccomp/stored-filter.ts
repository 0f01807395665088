import type { StoredFilter } from '../launch-bundle.ts';
import type { OciSpec } from '../oci-spec.ts';
import { encodeBpf } from './bpf.ts';
import { compileSeccomp } from './compile.ts';
import type { SeccompArchitecture } from './syscall-numbers.ts';

/** The filter of a spec for this machine; undefined when it has none. @throws UNSUPPORTED */
export function storeFilter(spec: OciSpec, architecture: SeccompArchitecture): StoredFilter | undefined {
  const profile = spec.linux?.seccomp;
  if (profile === undefined) return undefined;
  const { flags, program } = compileSeccomp(profile, architecture);
  return { flags, program: encodeBpf(program).toString('base64') };
}
