import { TkadmError } from '../../base/errors.ts';

/** The moments of a cron schedule: for each field the values it allows. */
export interface CronSchedule {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Day of month and of week both restricted: one of them is enough (cron's own rule). */
  readonly isEitherDay: boolean;
}

const MACROS: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const MINUTE_MS = 60_000;
const SEARCH_DAYS = 5 * 366;

/** Parses "0 3 * * mon-fri" or "@hourly". @throws FLAG_INVALID */
export function parseCronSchedule(text: string): CronSchedule {
  const fields = (MACROS[text.trim()] ?? text).trim().split(/\s+/);
  if (fields.length !== 5) {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot read schedule "${text}": it has ${fields.length} fields, not 5`,
    );
  }
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = fields;
  const weekdays = parseField(weekday, 0, 7, WEEKDAYS, text);
  if (weekdays.has(7)) weekdays.add(0);
  return {
    minutes: parseField(minute, 0, 59, [], text),
    hours: parseField(hour, 0, 23, [], text),
    days: parseField(day, 1, 31, [], text),
    months: parseField(month, 1, 12, MONTHS, text),
    weekdays,
    isEitherDay: !/^[*?]/.test(day) && !/^[*?]/.test(weekday),
  };
}

/** The first moment after `after` in the time zone (IANA name), or undefined within five years. */
export function nextCronTime(schedule: CronSchedule, after: Date, timeZone: string): Date | undefined {
  let time = Math.floor(after.getTime() / MINUTE_MS) * MINUTE_MS + MINUTE_MS;
  const end = time + SEARCH_DAYS * 24 * 60 * MINUTE_MS;
  while (time < end) {
    const local = localTime(time, timeZone);
    if (!isDay(schedule, local)) {
      // To an hour before midnight at most, so that a change of the clock is not jumped over.
      const minutesLeft = (23 - local.hour) * 60 + (60 - local.minute);
      time += Math.max(1, minutesLeft > 120 ? minutesLeft - 60 : minutesLeft > 60 ? 30 : 1) * MINUTE_MS;
      continue;
    }
    if (!schedule.hours.has(local.hour)) {
      time += (60 - local.minute) * MINUTE_MS;
      continue;
    }
    if (schedule.minutes.has(local.minute)) return new Date(time);
    time += MINUTE_MS;
  }
  return undefined;
}

interface LocalTime {
  readonly minute: number;
  readonly hour: number;
  readonly day: number;
  readonly month: number;
  readonly weekday: number;
}

function isDay({ days, months, weekdays, isEitherDay }: CronSchedule, local: LocalTime): boolean {
  if (!months.has(local.month)) return false;
  const byDay = days.has(local.day);
  const byWeekday = weekdays.has(local.weekday);
  return isEitherDay ? byDay || byWeekday : byDay && byWeekday;
}

function localTime(time: number, timeZone: string): LocalTime {
  const date = new Date(time);
  if (timeZone === 'UTC') {
    return {
      minute: date.getUTCMinutes(),
      hour: date.getUTCHours(),
      day: date.getUTCDate(),
      month: date.getUTCMonth() + 1,
      weekday: date.getUTCDay(),
    };
  }
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    minute: 'numeric',
    hour: 'numeric',
    day: 'numeric',
    month: 'numeric',
    weekday: 'short',
  });
  const parts = Object.fromEntries(format.formatToParts(date).map(({ type, value }) => [type, value]));
  return {
    minute: Number(parts['minute']),
    hour: Number(parts['hour']),
    day: Number(parts['day']),
    month: Number(parts['month']),
    weekday: WEEKDAYS.indexOf((parts['weekday'] ?? '').toLowerCase()),
  };
}

function parseField(
  text: string,
  min: number,
  max: number,
  names: readonly string[],
  schedule: string,
): Set<number> {
  const values = new Set<number>();
  const fail = () =>
    new TkadmError('FLAG_INVALID', `Cannot read schedule "${schedule}": field "${text}" is invalid`);
  const number = (part: string) => {
    const index = names.indexOf(part.toLowerCase());
    const value = index >= 0 ? index + min : Number(part);
    if (part === '' || !Number.isInteger(value) || value < min || value > max) throw fail();
    return value;
  };
  for (const part of text.split(',')) {
    const [range = '', stepText] = part.split('/');
    const step = stepText === undefined ? 1 : Number(stepText);
    if (!Number.isInteger(step) || step < 1) throw fail();
    const isAll = range === '*' || range === '?';
    const [from = '', to] = range.split('-');
    const first = isAll ? min : number(from);
    const last = isAll ? (max === 7 ? 6 : max) : to === undefined ? (stepText ? max : first) : number(to);
    if (last < first) throw fail();
    for (let value = first; value <= last; value += step) values.add(value);
  }
  return values;
}
