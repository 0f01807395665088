const MAX_DELAY_MS = 2 ** 31 - 1;

/** What a loop waits for: to be woken, at once or by time. What wakes it while it is at work is not lost. */
export class Alarm {
  #resolve: (() => void) | undefined;
  #isRung = true;
  #isOff = false;
  #timer: NodeJS.Timeout | undefined;

  /** Wakes the loop. */
  ring(): void {
    this.#isRung = true;
    this.#resolve?.();
  }

  /** Wakes the loop in `delayMs`, and not at the time that was set before. */
  ringIn(delayMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#isOff) this.#timer = setTimeout(() => this.ring(), Math.min(delayMs, MAX_DELAY_MS));
  }

  /** Resolves when it has rung since the last time; the first time at once. */
  async rung(): Promise<void> {
    if (!this.#isRung) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    }
    this.#resolve = undefined;
    this.#isRung = false;
    clearTimeout(this.#timer);
  }

  /** Rings for the last time: no timer is to keep the program. */
  turnOff(): void {
    this.#isOff = true;
    clearTimeout(this.#timer);
    this.ring();
  }
}
