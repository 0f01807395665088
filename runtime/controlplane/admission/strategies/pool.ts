/** Numbers 1..size (or from..to) of which each may be taken once at a time. */
export interface NumberPool {
  /** True when someone has it. */
  isTaken(value: number): boolean;
  /** Marks it as taken; a second owner of the same number is counted too. */
  take(value: number): void;
  /** Gives one mark back. */
  release(value: number): void;
  /** A free number at random, from the upper band while there is one there; undefined when all are taken. */
  pick(): number | undefined;
}

/**
 * A pool over `from`..`to`. The first `reserved` numbers are left to those who ask for one by name until the rest
 * is used up (KEP-3070, KEP-3668).
 */
export function createNumberPool(options: {
  readonly from: number;
  readonly to: number;
  readonly reserved: number;
  readonly randomBytes: (size: number) => Buffer;
}): NumberPool {
  const { from, to, reserved, randomBytes } = options;
  const owners = new Map<number, number>();
  function pickIn(first: number, last: number): number | undefined {
    const count = last - first + 1;
    if (count <= 0) return undefined;
    const start = randomBytes(4).readUInt32BE() % count;
    for (let i = 0; i < count; i += 1) {
      const value = first + ((start + i) % count);
      if (!owners.has(value)) return value;
    }
    return undefined;
  }
  return {
    isTaken: (value) => owners.has(value),
    take: (value) => void owners.set(value, (owners.get(value) ?? 0) + 1),
    release(value) {
      const count = (owners.get(value) ?? 0) - 1;
      if (count > 0) owners.set(value, count);
      else owners.delete(value);
    },
    pick: () => pickIn(from + reserved, to) ?? pickIn(from, from + reserved - 1),
  };
}
