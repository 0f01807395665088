import type { CtrEvent } from '../../../runtime/ctr/ctr-messages.ts';
import { parseTemplate } from '../../render/go-template.ts';
import type { CliContext } from '../context.ts';
import { ctr } from './call.ts';
import { applyFilters, type FilterTable, hasLabel } from './print-rows.ts';
import { parseMoment } from './units.ts';

export interface EventsFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly since?: string;
  readonly until?: string;
}

const FILTERS: FilterTable<CtrEvent> = {
  container: ({ id, attributes }, value) => attributes['name'] === value || id.startsWith(value),
  event: ({ action }, value) => action === value,
  image: ({ attributes }, value) => attributes['image'] === value,
  label: ({ attributes }, value) => hasLabel(attributes, value),
  type: ({ type }, value) => type === value,
};

/** `tkadm ctr events`: until interrupted, or --until. */
export async function runEvents(context: CliContext, flags: EventsFlags): Promise<void> {
  const { filter, format, since, until } = flags;
  applyFilters([], FILTERS, filter);
  const template = format === undefined || format === 'json' ? undefined : parseTemplate(format);
  const now = context.now();
  const body = {
    since: since === undefined ? undefined : parseMoment('--since', since, now),
    until: until === undefined ? undefined : parseMoment('--until', until, now),
  };
  const line = (event: CtrEvent) => {
    if (template !== undefined) return template(toDocument(event));
    return format === 'json' ? JSON.stringify(toDocument(event)) : formatEvent(event);
  };
  await ctr(context, 'events', body, {
    onNote: (event) => {
      if (applyFilters([event], FILTERS, filter).length > 0) context.write(`${line(event)}\n`);
    },
  });
}

function toDocument({ type, action, id, attributes, time }: CtrEvent) {
  const ms = Date.parse(time);
  return {
    status: action,
    id,
    from: attributes['image'] ?? '',
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: 'local',
    time: Math.floor(ms / 1000),
    timeNano: ms * 1e6,
  };
}

function formatEvent({ type, action, id, attributes, time }: CtrEvent): string {
  const words = Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`);
  return `${time} ${type} ${action} ${id} (${words.join(', ')})`;
}
