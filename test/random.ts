/** Values that look random and are the same for the same seed, so that a failure can be seen again. */
export interface Random {
  /** From 0 up to, not including, `bound`. */
  int(bound: number): number;
  bigint(bits: number): bigint;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** Some of the list, in its order. */
  some<T>(list: readonly T[]): readonly T[];
}

/** A generator (mulberry32: Tommy Ettinger, public domain) for one seed. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
  const random: Random = {
    int: (bound) => Math.floor(next() * bound),
    bigint: (bits) => {
      let value = 0n;
      for (let bit = 0; bit < bits; bit += 1) value = (value << 1n) | (next() < 0.5 ? 0n : 1n);
      return value;
    },
    chance: (probability) => next() < probability,
    pick: (list) => list[Math.floor(next() * list.length)]!,
    some: (list) => list.filter(() => next() < 0.5),
  };
  return random;
}
