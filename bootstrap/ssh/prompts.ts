/** Asks the person at the terminal; undefined when there is none. */
export type Ask = (question: string, options: { readonly isSecret: boolean }) => Promise<string | undefined>;

/** Answers of a person that several hosts need: each question is asked once, one at a time. */
export class SshPrompts {
  readonly #ask: Ask | undefined;
  readonly #answers = new Map<string, Promise<string | undefined>>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(ask: Ask | undefined) {
    this.#ask = ask;
  }

  get isPossible(): boolean {
    return this.#ask !== undefined;
  }

  /** The answer to a question for a secret, from memory when it was asked before. */
  secret(question: string): Promise<string | undefined> {
    const held = this.#answers.get(question);
    if (held) return held;
    const answer = this.#inTurn(question, true);
    this.#answers.set(question, answer);
    return answer;
  }

  /** Drops an answer that was wrong, so that it is asked for again. */
  forget(question: string): void {
    this.#answers.delete(question);
  }

  /** A question whose answer is not kept. */
  open(question: string, isSecret = false): Promise<string | undefined> {
    return this.#inTurn(question, isSecret);
  }

  #inTurn(question: string, isSecret: boolean): Promise<string | undefined> {
    const ask = this.#ask;
    if (!ask) return Promise.resolve(undefined);
    const answer = this.#last.then(() => ask(question, { isSecret }));
    this.#last = answer.catch(() => {});
    return answer;
  }
}
