/** Who uses layers now, by the directories that were mounted: containers, volumes and builds. */
export class LayerOwners {
  readonly #held = new Map<string, readonly string[]>();

  retain(owner: string, directories: readonly string[]): void {
    this.#held.set(owner, directories);
  }

  /** What the owner had. */
  release(owner: string): readonly string[] {
    const held = this.#held.get(owner) ?? [];
    this.#held.delete(owner);
    return held;
  }

  /** True when somebody has one of these directories. */
  holdsAny(directories: readonly string[]): boolean {
    return [...this.#held.values()].some((held) => held.some((path) => directories.includes(path)));
  }

  /** True when somebody has these directories and no others. */
  holdsAll(directories: readonly string[]): boolean {
    const text = directories.join(':');
    return text !== '' && [...this.#held.values()].some((held) => held.join(':') === text);
  }
}
