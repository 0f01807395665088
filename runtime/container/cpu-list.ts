const PATTERN = /^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/;
/** More than a kernel can be built for (NR_CPUS). */
const MAX_CPUS = 8192;
const WORD_BITS = 64;

/** The CPUs of a list such as "0-3,7" (cpuset(7), "List format"); undefined for anything else. */
export function parseCpuList(text: string): readonly number[] | undefined {
  const compact = text.replaceAll(/\s/g, '');
  if (!PATTERN.test(compact)) return undefined;
  const cpus = compact.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return last < MAX_CPUS ? Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i) : [];
  });
  return cpus.length === 0 ? undefined : cpus;
}

/** A `cpu_set_t`, sched_setaffinity(2): a bit for each CPU. */
export function buildCpuSet(cpus: readonly number[]): Buffer {
  const bits = Math.ceil((Math.max(...cpus) + 1) / WORD_BITS) * WORD_BITS;
  const set = Buffer.alloc(bits / 8);
  for (const cpu of cpus) set[cpu >> 3]! |= 1 << (cpu & 7);
  return set;
}
