import { EVENT_ID, type Event, getScalarValue } from 'js-yaml';

/** Where the fields of a document stand in its file. */
export interface Places {
  /** Line, from 1, of each field and list item, by JSON pointer (RFC 6901). */
  readonly lines: ReadonlyMap<string, number>;
  /** Fields that occur more than once; the last one counts. */
  readonly duplicates: readonly { readonly pointer: string; readonly line: number }[];
}

interface OpenPlaces extends Places {
  readonly lines: Map<string, number>;
  readonly duplicates: { pointer: string; line: number }[];
}

/** A mapping or list that has begun. `key` waits for its value; `index` is the next item of a list. */
interface Frame {
  readonly pointer: string;
  readonly isList: boolean;
  key?: string | undefined;
  index: number;
}

/** The places of each document of a YAML text, from the parser's events. */
export function findPlaces(text: string, events: readonly Event[]): readonly Places[] {
  const documents: OpenPlaces[] = [];
  const frames: (Frame | undefined)[] = [];
  const lineAt = createLineFinder(text);
  for (const event of events) {
    if (event.type === EVENT_ID.POP) frames.pop();
    else if (event.type === EVENT_ID.DOCUMENT) {
      documents.push({ lines: new Map(), duplicates: [] });
      frames.push(undefined);
    } else {
      const pointer = enterNode(event, { text, lineAt, places: documents.at(-1)!, parent: frames.at(-1) });
      if (event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE) {
        frames.push({ pointer, isList: event.type === EVENT_ID.SEQUENCE, index: 0 });
      }
    }
  }
  return documents;
}

interface NodeContext {
  readonly text: string;
  readonly lineAt: (offset: number) => number;
  readonly places: OpenPlaces;
  readonly parent: Frame | undefined;
}

/** Notes a node in its parent and returns its pointer; a mapping's nodes are key and value in turn. */
function enterNode(event: Event, { text, lineAt, places, parent }: NodeContext): string {
  if (!parent) return '';
  if (parent.isList) {
    const pointer = `${parent.pointer}/${parent.index}`;
    parent.index += 1;
    places.lines.set(pointer, lineAt(offsetOf(event)));
    return pointer;
  }
  if (parent.key !== undefined) {
    const pointer = `${parent.pointer}/${escapeKey(parent.key)}`;
    parent.key = undefined;
    return pointer;
  }
  const key = event.type === EVENT_ID.SCALAR ? getScalarValue(text, event) : '?';
  const pointer = `${parent.pointer}/${escapeKey(key)}`;
  const line = lineAt(offsetOf(event));
  if (key !== '<<' && places.lines.has(pointer)) places.duplicates.push({ pointer, line });
  else places.lines.set(pointer, line);
  parent.key = key;
  return pointer;
}

function offsetOf(event: Event): number {
  if ('valueStart' in event) return event.valueStart;
  if ('start' in event) return event.start;
  return 'anchorStart' in event ? event.anchorStart : 0;
}

function escapeKey(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function createLineFinder(text: string): (offset: number) => number {
  const starts = [0, ...[...text.matchAll(/\n/g)].map((match) => match.index + 1)];
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}

/** The line of a field, or of the nearest field around it; undefined when the file says nothing of it. */
export function lineOf(places: Places | undefined, pointer: string): number | undefined {
  for (let rest = pointer; rest !== ''; rest = rest.slice(0, rest.lastIndexOf('/'))) {
    const line = places?.lines.get(rest);
    if (line !== undefined) return line;
  }
  return undefined;
}

/** "/apiServer/extraArgs/0/name" → "apiServer.extraArgs[0].name" */
export function formatFieldPath(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce(
      (path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === '' ? part : `${path}.${part}`),
      '',
    );
}

/** "apiServer.extraArgs[0].name" → "/apiServer/extraArgs/0/name" */
export function toPointer(path: string): string {
  return path === ''
    ? ''
    : `/${path.replaceAll('[', '.').replaceAll(']', '').split('.').map(escapeKey).join('/')}`;
}
