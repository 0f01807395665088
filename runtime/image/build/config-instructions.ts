import { TkadmError } from '../../base/errors.ts';
import { parseDuration } from '../../base/flags.ts';
import { type Instruction, type InstructionName, invalid, parseJson, parseTrigger } from '../dockerfile.ts';
import { expandWord, parseAssignments, splitWords, type Variables } from '../dockerfile-words.ts';
import type { OciExecutionConfig } from '../oci-image.ts';
import { type StageState, setVariable, shellOf } from './state.ts';

type ConfigInstruction = (
  row: Instruction,
  config: OciExecutionConfig,
  variables: Variables,
) => OciExecutionConfig;

/** Instructions that change nothing but the image's configuration (OCI image-spec config.md). */
const CONFIG_INSTRUCTIONS: Partial<Record<InstructionName, ConfigInstruction>> = {
  ENV: (row, config, variables) => ({
    ...config,
    Env: parseAssignments(row, variables).reduce(
      (env, [name, value]) => setVariable(env, name, value),
      config.Env ?? [],
    ),
  }),
  LABEL: (row, config, variables) => ({
    ...config,
    Labels: { ...config.Labels, ...Object.fromEntries(parseAssignments(row, variables)) },
  }),
  MAINTAINER: (row, config) => ({ ...config, Labels: { ...config.Labels, maintainer: row.text } }),
  USER: (row, config, variables) => ({ ...config, User: expandWord(row.text, variables) }),
  EXPOSE: (row, config, variables) => ({
    ...config,
    ExposedPorts: {
      ...config.ExposedPorts,
      ...asKeys(expandWords(row, variables).map((port) => (port.includes('/') ? port : `${port}/tcp`))),
    },
  }),
  VOLUME: (row, config, variables) => ({
    ...config,
    Volumes: { ...config.Volumes, ...asKeys(row.json ?? expandWords(row, variables)) },
  }),
  CMD: (row, config) => ({ ...config, Cmd: commandForm(row, config) }),
  ENTRYPOINT: (row, config) => ({ ...config, Entrypoint: commandForm(row, config) }),
  SHELL: (row, config) => {
    if (!row.json) throw invalid(row.line, 'SHELL in another form than ["program", "argument"]');
    return { ...config, Shell: row.json };
  },
  STOPSIGNAL: (row, config, variables) => ({ ...config, StopSignal: expandWord(row.text, variables) }),
  ONBUILD: (row, config) => {
    parseTrigger(row.text, row.line);
    return { ...config, OnBuild: [...(config.OnBuild ?? []), row.text] };
  },
  HEALTHCHECK: (row, config) => ({ ...config, Healthcheck: parseHealthcheck(row) }),
};

/**
 * The state after an instruction that changes the configuration.
 * @throws DOCKERFILE_INVALID for an instruction that is not supported.
 */
export function applyConfigInstruction(
  row: Instruction,
  state: StageState,
  variables: Variables,
): StageState {
  const apply = CONFIG_INSTRUCTIONS[row.name];
  if (!apply) throw invalid(row.line, `${row.name}, which is not supported`);
  const config = apply(row, state.config, variables);
  if (row.name === 'CMD') return { ...state, config, hasOwnCmd: true };
  if (row.name !== 'ENTRYPOINT' || state.hasOwnCmd) return { ...state, config };
  // The base image's arguments were for its own entrypoint.
  const { Cmd: _cmd, ...rest } = config;
  return { ...state, config: rest };
}

function expandWords(row: Instruction, variables: Variables): readonly string[] {
  return splitWords(row.text, row.line).map((word) => expandWord(word, variables));
}

function asKeys(names: readonly string[]): Readonly<Record<string, object>> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function commandForm(row: Instruction, config: OciExecutionConfig): readonly string[] {
  return row.json ?? [...shellOf(config), row.text];
}

/** Durations in nanoseconds, as Docker's configuration has them. */
function parseHealthcheck(row: Instruction): object {
  if (/^NONE$/i.test(row.text)) return { Test: ['NONE'] };
  if (!/^CMD\s/i.test(row.text)) throw invalid(row.line, 'HEALTHCHECK without CMD or NONE');
  const text = row.text.replace(/^CMD\s+/i, '');
  const json = parseJson(text);
  return {
    Test: json ? ['CMD', ...json] : ['CMD-SHELL', text],
    ...Object.fromEntries(
      HEALTHCHECK_TIMES.flatMap(([flag, field]) => {
        const value = row.flags[flag];
        return value === undefined
          ? []
          : [[field, parseFlag(row, () => parseDuration(value) * 1e6)] as const];
      }),
    ),
    ...parseRetries(row),
  };
}

/** Flag → field of Docker's image-spec v1.2, "Healthcheck". */
const HEALTHCHECK_TIMES = [
  ['interval', 'Interval'],
  ['timeout', 'Timeout'],
  ['start-period', 'StartPeriod'],
  ['start-interval', 'StartInterval'],
] as const;

function parseRetries({ flags, line }: Instruction): { readonly Retries?: number } {
  const { retries } = flags;
  if (retries === undefined) return {};
  if (!/^\d{1,6}$/.test(retries)) throw invalid(line, `HEALTHCHECK --retries=${retries}, which is no number`);
  return { Retries: Number(retries) };
}

function parseFlag<T>(row: Instruction, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof TkadmError) throw invalid(row.line, `a flag: ${error.message}`);
    throw error;
  }
}
