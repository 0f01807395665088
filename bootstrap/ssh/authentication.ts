import { readFile } from 'node:fs/promises';
import ssh2, {
  type BaseAgent as Agent,
  type AnyAuthMethod,
  type ParsedKey,
  type Prompt,
  type SignCallback,
  type SigningRequestOptions,
} from 'ssh2';
import type { ResolvedHost } from './config-resolve.ts';
import type { Identity } from './identities.ts';
import type { SshPrompts } from './prompts.ts';

// Node.js does not see the names of this CommonJS module's exports.
const { BaseAgent, createAgent, utils } = ssh2;

const PASSWORD_TRIES = 3;

export interface AuthenticationOptions {
  readonly user: string;
  readonly host: string;
  readonly agentSocket: string | undefined;
  /** Keys of the agent that are no file of `identities` are not shown to the server. */
  readonly hasOnlyTheseIdentities: boolean;
  readonly identities: readonly Identity[];
  readonly methods: ResolvedHost['methods'];
  /** Given beforehand; else it is asked for. */
  readonly password: string | undefined;
  readonly prompts: SshPrompts;
}

/** What ssh2 asks for at each turn. */
type Handler = (
  methodsLeft: readonly string[] | null,
  isPartialSuccess: boolean,
  next: (method: AnyAuthMethod | false) => void,
) => void;

/** Logs in: agent, key files, password, keyboard-interactive, as far as the server offers them. */
export class Authentication {
  readonly #options: AuthenticationOptions;
  readonly #turns: AsyncGenerator<AnyAuthMethod>;
  #offered: readonly string[] | null = null;
  /** Why a turn could not be taken, such as a key whose passphrase is not known. */
  failure: Error | undefined;
  readonly #tried = new Set<string>();

  constructor(options: AuthenticationOptions) {
    this.#options = options;
    this.#turns = this.#takeTurns();
  }

  /** What was shown to the server and what it takes, for messages. */
  describe(): string {
    const tried =
      this.#tried.size === 0 ? 'there was nothing to try' : `tried: ${[...this.#tried].join(', ')}`;
    return this.#offered === null ? tried : `${tried}; the server takes ${this.#offered.join(', ')}`;
  }

  /** For ssh2's `authHandler`. */
  readonly handler: Handler = (methodsLeft, _isPartialSuccess, next) => {
    this.#offered = methodsLeft;
    this.#turns.next().then(
      ({ value, done }) => next(done ? false : value),
      (error: Error) => {
        this.failure = error;
        next(false);
      },
    );
  };

  async *#takeTurns(): AsyncGenerator<AnyAuthMethod> {
    const { user: username, methods } = this.#options;
    if (methods.publicKey) yield* this.#offerKeys(username);
    if (methods.password) yield* this.#offerPasswords(username);
    if (methods.interactive && this.#isOffered('keyboard-interactive')) {
      this.#tried.add('keyboard-interactive');
      yield { type: 'keyboard-interactive', username, prompt: this.#answer };
    }
  }

  /** Before its first answer the server has said nothing of what it takes. */
  #isOffered(method: string): boolean {
    return this.#offered === null || this.#offered.includes(method);
  }

  async *#offerKeys(username: string): AsyncGenerator<AnyAuthMethod> {
    const { agentSocket, identities, hasOnlyTheseIdentities } = this.#options;
    if (agentSocket !== undefined) {
      const agent = hasOnlyTheseIdentities
        ? new SelectedAgent(createAgent(agentSocket), await readPublicKeys(identities))
        : agentSocket;
      this.#tried.add('the agent');
      yield { type: 'agent', username, agent };
    }
    for (const identity of identities) {
      if (!this.#isOffered('publickey')) return;
      const key = await identity.open();
      if (!key) continue;
      this.#tried.add(identity.path);
      yield { type: 'publickey', username, key };
    }
  }

  async *#offerPasswords(username: string): AsyncGenerator<AnyAuthMethod> {
    const { password } = this.#options;
    if (password !== undefined) {
      if (!this.#isOffered('password')) return;
      this.#tried.add('password');
      yield { type: 'password', username, password };
      return;
    }
    // Nobody is asked for a password that the server would not take.
    if (this.#offered === null) yield { type: 'none', username };
    for (let attempt = 0; attempt < PASSWORD_TRIES && this.#offered?.includes('password'); attempt += 1) {
      const answer = await this.#askPassword();
      if (answer === undefined || answer === '') return;
      this.#tried.add('password');
      yield { type: 'password', username, password: answer };
      this.#options.prompts.forget(this.#question);
    }
  }

  get #question(): string {
    return `Password of ${this.#options.user}@${this.#options.host}: `;
  }

  #askPassword(): Promise<string | undefined> {
    return this.#options.prompts.secret(this.#question);
  }

  /** Hidden questions are for the password when one was given; all others go to the person. */
  readonly #answer = (
    _name: string,
    _instructions: string,
    _language: string,
    questions: Prompt[],
    finish: (answers: string[]) => void,
  ): void => {
    const { password, prompts, host } = this.#options;
    const ask = async ({ prompt, echo }: Prompt) =>
      !echo && password !== undefined ? password : ((await prompts.open(`${host}: ${prompt}`, !echo)) ?? '');
    Promise.all(questions.map(ask)).then(finish, () => finish([]));
  };
}

/** An agent that shows some of its keys only (`IdentitiesOnly`). */
class SelectedAgent extends BaseAgent {
  readonly #agent: Agent;
  readonly #publicKeys: readonly Buffer[];

  constructor(agent: Agent, publicKeys: readonly Buffer[]) {
    super();
    this.#agent = agent;
    this.#publicKeys = publicKeys;
  }

  override getIdentities(done: (error: Error | undefined, keys?: ParsedKey[]) => void): void {
    this.#agent.getIdentities((error, keys) => {
      const shown = (keys as ParsedKey[] | undefined)?.filter((key) =>
        this.#publicKeys.some((publicKey) => publicKey.equals(key.getPublicSSH())),
      );
      done(error ?? undefined, shown);
    });
  }

  override sign(
    key: ParsedKey | Buffer | string,
    data: Buffer,
    options: SigningRequestOptions | SignCallback,
    done?: SignCallback,
  ): void {
    this.#agent.sign(key, data, options as SigningRequestOptions, done);
  }
}

/** Public halves, from the `.pub` files beside the keys: a key under a passphrase need not be opened. */
async function readPublicKeys(identities: readonly Identity[]): Promise<readonly Buffer[]> {
  const texts = await Promise.all(
    identities.map(({ path }) => readFile(`${path}.pub`).catch(() => readFile(path).catch(() => ''))),
  );
  return texts.flatMap((text) => {
    const parsed = utils.parseKey(text);
    return parsed instanceof Error ? [] : [parsed.getPublicSSH()];
  });
}
