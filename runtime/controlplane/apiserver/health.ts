/** One thing that must hold for the server to be healthy; returns what is wrong. */
export interface HealthCheck {
  readonly name: string;
  /** Endpoints that include it; `healthz` includes all. */
  readonly endpoints: readonly ('livez' | 'readyz')[];
  readonly check: () => string | undefined;
}

export interface HealthReport {
  readonly isHealthy: boolean;
  /** One line for each check, in upstream's format. */
  readonly details: string;
}

/** The checks behind /livez, /readyz and /healthz. */
export class HealthChecks {
  readonly #checks: readonly HealthCheck[];

  constructor(checks: readonly HealthCheck[]) {
    this.#checks = [{ name: 'ping', endpoints: ['livez', 'readyz'], check: () => undefined }, ...checks];
  }

  /** undefined: there is no such check. */
  report(
    endpoint: string,
    options: { readonly check: string | undefined; readonly excluded: ReadonlySet<string> },
  ): HealthReport | undefined {
    const all = this.#checks.filter(
      ({ endpoints }) => endpoint === 'healthz' || endpoints.some((name) => name === endpoint),
    );
    const asked = options.check === undefined ? all : all.filter(({ name }) => name === options.check);
    if (asked.length === 0) return undefined;
    const results = asked.map(({ name, check }) => ({
      name,
      isExcluded: options.excluded.has(name),
      problem: options.excluded.has(name) ? undefined : check(),
    }));
    const isHealthy = results.every(({ problem }) => problem === undefined);
    const lines = results.map(({ name, isExcluded, problem }) => {
      if (isExcluded) return `[+]${name} excluded: ok`;
      return problem === undefined ? `[+]${name} ok` : `[-]${name} failed: ${problem}`;
    });
    return {
      isHealthy,
      details: `${lines.join('\n')}\n${endpoint} check ${isHealthy ? 'passed' : 'failed'}\n`,
    };
  }
}
