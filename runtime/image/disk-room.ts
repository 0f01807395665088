import { statfsSync } from 'node:fs';

/** The free space that is left for others: this much, or a twentieth of a small disk. */
const RESERVED_BYTES = 2 ** 30;
const BYTES_BETWEEN_CHECKS = 64 << 20;
const INODES_BETWEEN_CHECKS = 10_000;

/** Looks now and then whether the disk has room: a bomb must not fill what others write to as well. */
export class DiskRoom {
  readonly #root: string;
  /** Since the free space was looked at. */
  #writtenBytes = 0;
  #inodes = 0;

  constructor(root: string) {
    this.#root = root;
  }

  /** How many inodes were counted. */
  get inodes(): number {
    return this.#inodes;
  }

  /** @throws Error that says what is left */
  countInode(): void {
    this.#inodes += 1;
    if (this.#inodes % INODES_BETWEEN_CHECKS === 0) this.#check();
  }

  /** @throws Error that says what is left */
  countBytes(bytes: number): void {
    this.#writtenBytes += bytes;
    if (this.#writtenBytes <= BYTES_BETWEEN_CHECKS) return;
    this.#writtenBytes = 0;
    this.#check();
  }

  #check(): void {
    const { bsize, blocks, bavail, files, ffree } = statfsSync(this.#root);
    const freeBytes = bavail * bsize;
    if (freeBytes < Math.min(RESERVED_BYTES, (blocks * bsize) / 20)) {
      throw new Error(`the disk has only ${freeBytes} bytes left`);
    }
    if (files > 0 && ffree < files / 50) throw new Error(`the disk has only ${ffree} inodes left`);
  }
}
