/** Lets one task at a time through for each key, in the order of their coming. */
export class KeyLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `task` when all earlier ones of this key have ended. */
  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    let release = () => {};
    const tail = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#tails.set(key, tail);
    try {
      await before;
      return await task();
    } finally {
      release();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
