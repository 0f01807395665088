/** A linear congruential generator, so that failures can be repeated: whole numbers from 0 to 2^23. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state >> 8;
  };
}
