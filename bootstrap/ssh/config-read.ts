import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { isSystemError } from '../../runtime/base/errors.ts';
import { findIncluded } from './config-include.ts';
import { judgeKeyword, type SshKeyword } from './config-keywords.ts';
import { type ConfigLine, malformed, parseConfigLines } from './config-lines.ts';
import { type MatchFacts, matchesHostLine, matchesMatchLine } from './config-match.ts';

/** As in OpenSSH. */
const MAX_INCLUDE_DEPTH = 16;

/** The values that apply to one host: for each keyword the arguments of its line, or of its lines. */
export class ConfigValues {
  readonly #values = new Map<SshKeyword, (readonly string[])[]>();
  readonly #places = new Map<SshKeyword, string>();
  /** "keyword (path:line)" of settings that would change how the connection is made and are not supported. */
  readonly refused: string[] = [];
  /** True when a `Match final` or `Match canonical` line asks for a second reading. */
  hasFinalPass = false;

  get(keyword: SshKeyword): string | undefined {
    return this.#values.get(keyword)?.[0]?.[0];
  }

  /** "path:line" of the first line. */
  placeOf(keyword: SshKeyword): string | undefined {
    return this.#places.get(keyword);
  }

  /** All arguments of the first line. */
  getWords(keyword: SshKeyword): readonly string[] | undefined {
    return this.#values.get(keyword)?.[0];
  }

  /** The first argument of each line. */
  getLines(keyword: SshKeyword): readonly string[] {
    return (this.#values.get(keyword) ?? []).flatMap((args) => args.slice(0, 1));
  }

  /** The first value wins; of a list, each new one is added. */
  add(line: ConfigLine): void {
    const [value = ''] = line.args;
    const judged = judgeKeyword(line.keyword, value);
    if (judged === 'ignored') return;
    if (judged === 'refused') {
      const name = `${line.keyword} (${line.place})`;
      if (!this.refused.includes(name)) this.refused.push(name);
      return;
    }
    const held = this.#values.get(judged.keyword) ?? [];
    if (held.length > 0 && !judged.isList) return;
    if (this.#isProxySet(judged.keyword)) return;
    if (held.some(([first]) => first === value)) return;
    this.#values.set(judged.keyword, [...held, line.args]);
    if (held.length === 0) this.#places.set(judged.keyword, line.place);
  }

  /** Of ProxyCommand and ProxyJump the one that is found first counts; but "ProxyJump none" leaves room for a command. */
  #isProxySet(keyword: SshKeyword): boolean {
    if (keyword === 'proxyjump') return this.#values.has('proxycommand');
    return keyword === 'proxycommand' && (this.get('proxyjump') ?? 'none').toLowerCase() !== 'none';
  }
}

export interface ReadOptions {
  readonly path: string;
  /** A file that the user has named has to be there. */
  readonly isRequired: boolean;
  /** The user's own file may be written by nobody else. */
  readonly isOwn: boolean;
  readonly home: string;
  readonly uid: number;
}

/**
 * Reads one configuration file, and what it includes, into `values`, as ssh_config(5) says.
 * @throws SSH_CONFIG with file and line
 */
export function readConfigFile(options: ReadOptions, values: ConfigValues, facts: () => MatchFacts): void {
  const state: ReadState = { ...options, values, facts, folder: dirname(options.path) };
  readFile(state, options.path, { depth: 0, isActive: true });
}

interface ReadState extends ReadOptions {
  readonly values: ConfigValues;
  /** Asked at each `Match`, since lines before it may have set HostName or User. */
  readonly facts: () => MatchFacts;
  readonly folder: string;
}

interface Position {
  readonly depth: number;
  /** False in a file that is included from a block for other hosts: it is read for its errors alone. */
  readonly isActive: boolean;
}

function readFile(state: ReadState, path: string, { depth, isActive }: Position): void {
  const text = readText(state, path, depth);
  if (text === undefined) return;
  let isApplied = isActive;
  for (const line of parseConfigLines(text, path)) {
    const keyword = line.keyword.toLowerCase();
    if (keyword === 'host') isApplied = isActive && matchesHostLine(line.args, state.facts());
    else if (keyword === 'match') isApplied = judgeMatch(state, line, isActive);
    else if (keyword === 'include') include(state, line, { depth, isActive: isApplied });
    else if (isApplied) state.values.add(line);
  }
}

function judgeMatch(state: ReadState, line: ConfigLine, isActive: boolean): boolean {
  if (line.args.some((word) => /^!?(final|canonical)$/i.test(word))) state.values.hasFinalPass = true;
  if (!isActive) return false;
  const isMatch = matchesMatchLine(line.args, state.facts());
  if (isMatch === undefined) throw malformed(line.place, `"Match ${line.args.join(' ')}" is not supported`);
  return isMatch;
}

function include(state: ReadState, line: ConfigLine, { depth, isActive }: Position): void {
  if (depth >= MAX_INCLUDE_DEPTH) throw malformed(line.place, 'files are included too deeply');
  for (const pattern of line.args) {
    for (const path of findIncluded(pattern, state.folder, state.home)) {
      readFile(state, path, { depth: depth + 1, isActive });
    }
  }
}

/** @throws SSH_CONFIG when others may write the user's file, as ssh refuses it */
function readText(state: ReadState, path: string, depth: number): string | undefined {
  try {
    const { mode, uid } = statSync(path);
    const isForeign = uid !== 0 && uid !== state.uid;
    if (state.isOwn && (isForeign || (mode & 0o022) !== 0)) {
      throw malformed(path, `owner ${uid} or mode ${(mode & 0o777).toString(8)} let others write it`);
    }
    return readFileSync(path, 'utf8');
  } catch (error) {
    const isOptional = depth > 0 || !state.isRequired;
    if (isOptional && isSystemError(error, 'ENOENT')) return undefined;
    if (isSystemError(error, 'ENOENT')) throw malformed(path, 'there is no such file');
    throw error;
  }
}
