import type { StoredFilter } from '../launch-bundle.ts';
import type { OciSpec } from '../oci-spec.ts';
import { encodeBpf } from './bpf.ts';
import { compileSeccomp } from './compile.ts';
import type { Machine } from './syscall-numbers.ts';

/** Most containers of a machine have one of a few profiles. */
const MAX_FILTERS = 64;

/** The filters of specs, compiled once for equal profiles. */
export class FilterStore {
  readonly #machine: Machine;
  readonly #filters = new Map<string, StoredFilter>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Undefined for a spec without a profile. @throws UNSUPPORTED */
  get(spec: OciSpec): StoredFilter | undefined {
    const profile = spec.linux?.seccomp;
    if (profile === undefined) return undefined;
    const key = JSON.stringify(profile);
    const known = this.#filters.get(key);
    if (known !== undefined) return known;
    const { program, ...rest } = compileSeccomp(profile, this.#machine.abis);
    const filter = { ...rest, program: encodeBpf(program) };
    if (this.#filters.size >= MAX_FILTERS) this.#filters.clear();
    this.#filters.set(key, filter);
    return filter;
  }
}
