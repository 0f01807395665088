/** Levels in rising order of weight. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** A structured logger; daemons write one line per call: `time LEVEL name: message key="value"`. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose lines carry `name` behind this one's, "agent/pods". */
  child(name: string): Logger;
}

export interface LoggerOptions {
  readonly name: string;
  readonly level?: LogLevel;
  readonly write: (line: string) => void;
  readonly now: () => Date;
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Creates a logger over a line sink. */
export function createLogger(options: LoggerOptions): Logger {
  const threshold = LEVELS.indexOf(options.level ?? 'info');
  const log = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (LEVELS.indexOf(level) < threshold) return;
    options.write(
      `${options.now().toISOString()} ${level.toUpperCase()} ${options.name}: ${message}${formatFields(fields)}\n`,
    );
  };
  return {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    child: (name) => createLogger({ ...options, name: `${options.name}/${name}` }),
  };
}

/** A logger that drops everything, for tests and libraries used on their own. */
export const SILENT_LOGGER: Logger = createLogger({ name: '', write: () => {}, now: () => new Date(0) });

function formatFields(fields: LogFields | undefined): string {
  if (fields === undefined) return '';
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? JSON.stringify(value) : value}`)
    .join('');
}
