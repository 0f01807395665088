import { TkadmError } from '../../../runtime/base/errors.ts';

/** "ctrl-p,ctrl-q": the bytes of the keys that leave a terminal. @throws USAGE */
export function parseDetachKeys(text: string): Buffer {
  const bytes = text.split(',').map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    if (key.length === 1) return key.charCodeAt(0);
    throw new TkadmError('USAGE', `Cannot use "--detach-keys ${text}": "${key}" is no key`, {
      hint: '--detach-keys ctrl-p,ctrl-q',
    });
  });
  return Buffer.from(bytes);
}

/** Finds the keys in what is typed. Their beginning is held back until it is clear that the rest does not follow. */
export class DetachFilter {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What is to be handed on, and whether the keys have come. */
  push(chunk: Buffer): { readonly bytes: Buffer; readonly isDetached: boolean } {
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched += 1;
        if (this.#matched === this.#keys.length) return { bytes: Buffer.from(out), isDetached: true };
        continue;
      }
      out.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) out.push(byte);
    }
    return { bytes: Buffer.from(out), isDetached: false };
  }
}
