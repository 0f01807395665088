import { matchesPattern } from './known-hosts.ts';

/** What the conditions of a configuration file are held against. */
export interface MatchFacts {
  /** The name that was typed. */
  readonly originalHost: string;
  /** That name after HostName. */
  readonly host: string;
  /** The name of the machine that is reached in the last pass, the typed one in the first. */
  readonly hostLineName: string;
  readonly user: string;
  readonly localUser: string;
  readonly isFinalPass: boolean;
  /** True when the command line ends with 0. */
  readonly runCommand: (commandLine: string) => boolean;
}

/** `Host` pattern…: one matches, and none with a `!` before it does. */
export function matchesHostLine(patterns: readonly string[], facts: MatchFacts): boolean {
  return matchesList(patterns, facts.hostLineName);
}

/** The outcome of a `Match` line; `undefined` for a criterion that ssh_config(5) does not know. */
export function matchesMatchLine(args: readonly string[], facts: MatchFacts): boolean | undefined {
  let isMatch = true;
  for (let i = 0; i < args.length; i += 1) {
    const word = args[i] as string;
    const isNegated = word.startsWith('!');
    const [name = '', inline] = word.slice(isNegated ? 1 : 0).split(/=(.*)/s);
    const criterion = name.toLowerCase();
    const flag = FLAGS[criterion];
    const test = TESTS[criterion];
    if (flag) isMatch = flag(facts) !== isNegated && isMatch;
    else if (test) {
      const value = inline ?? args[++i];
      if (value === undefined) return undefined;
      // A command of a line that no longer matches is not run.
      isMatch = isMatch && test(value, facts) !== isNegated;
    } else return undefined;
  }
  return isMatch;
}

const FLAGS: Readonly<Record<string, (facts: MatchFacts) => boolean>> = {
  all: () => true,
  canonical: (facts) => facts.isFinalPass,
  final: (facts) => facts.isFinalPass,
};

const TESTS: Readonly<Record<string, (value: string, facts: MatchFacts) => boolean>> = {
  exec: (value, facts) => facts.runCommand(value),
  host: (value, facts) => matchesList(value.split(','), facts.host),
  localuser: (value, facts) => matchesList(value.split(','), facts.localUser),
  originalhost: (value, facts) => matchesList(value.split(','), facts.originalHost),
  user: (value, facts) => matchesList(value.split(','), facts.user),
};

function matchesList(patterns: readonly string[], name: string): boolean {
  const isHit = (pattern: string) => matchesPattern(pattern, name);
  if (patterns.some((pattern) => pattern.startsWith('!') && isHit(pattern.slice(1)))) return false;
  return patterns.some((pattern) => !pattern.startsWith('!') && isHit(pattern));
}
