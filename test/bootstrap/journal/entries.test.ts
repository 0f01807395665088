import t from 'tap';
import {
  type Entry,
  findUnfinished,
  formatSealed,
  parseEntries,
} from '../../../bootstrap/journal/entries.ts';
import { createRandom } from '../../random.ts';

const ENTRIES: readonly Entry[] = [
  { type: 'run-started', run: 1, command: 'init', time: '2026-01-01T00:00:00.000Z' },
  {
    type: 'started',
    run: 1,
    id: 1,
    phase: 'certs/ca',
    summary: 'write /etc/kubernetes/pki/ca.crt',
    changes: [{ kind: 'file', path: '/ä/"ca".crt', before: 'absent', after: 'file 644 0:0 00' }],
  },
  { type: 'done', run: 1, id: 1 },
  { type: 'started', run: 1, id: 2, phase: 'kubelet-start', summary: 'start tkadm-agent', changes: [] },
];
const TEXT = ENTRIES.map(formatSealed).join('');
const LINES = TEXT.split(/(?<=\n)/);
const parse = (text: string) => parseEntries(Buffer.from(text), '/j');

t.test('parseEntries() gives back what was written', async (t) => {
  t.same(parse(TEXT), { entries: ENTRIES, wholeBytes: Buffer.byteLength(TEXT) });
  t.same(parse(''), { entries: [], wholeBytes: 0 });
});

t.test('parseEntries() passes over what a loss of power has torn, wherever that is', async (t) => {
  const whole = LINES.slice(0, -1).join('');
  const last = LINES.at(-1)!;
  for (let length = 0; length < last.length; length += 1) {
    const { entries, wholeBytes } = parse(whole + last.slice(0, length));
    t.same([entries.length, wholeBytes], [ENTRIES.length - 1, Buffer.byteLength(whole)], `${length} bytes`);
  }
  for (const zeros of ['\0', '\0'.repeat(4096), `{"type":"sta${'\0'.repeat(20)}\n`])
    t.equal(parse(whole + zeros).entries.length, ENTRIES.length - 1, 'zeros at the end');
});

t.test('parseEntries() refuses a line that is not as it was written', async (t) => {
  const cases: readonly [string, string][] = [
    ['another word', TEXT.replace('kubelet-start', 'kubelet-st0rt')],
    ['a line in two', TEXT.replace(',"run":1', ',\n"run":1')],
    ['no sum', `{"type":"done","run":1,"id":7}\n${TEXT}`],
    ['zeros within', TEXT.replace('certs/ca', '\0erts/ca')],
  ];
  for (const [title, text] of cases)
    t.throws(
      () => parse(text),
      { code: 'JOURNAL_DAMAGED', message: /"\/j": line \d is not/, hint: /^mv \/j/ },
      title,
    );
});

t.test('parseEntries() of damaged journals: all of a line or nothing, and never a silent gap', async (t) => {
  const random = createRandom(5);
  for (let round = 0; round < 500; round += 1) {
    const bytes = Buffer.from(TEXT);
    const at = random.int(bytes.length);
    bytes[at] = bytes[at]! ^ (1 << random.int(8));
    let found: readonly Entry[];
    try {
      found = parseEntries(bytes, '/j').entries;
    } catch (error) {
      t.match(error, { code: 'JOURNAL_DAMAGED' });
      continue;
    }
    // Only the end of the last line may go unnoticed: then the line does not count.
    t.same(found, ENTRIES.slice(0, found.length), `bit of byte ${at}`);
    t.ok(at >= bytes.length - Buffer.byteLength(LINES.at(-1)!), `byte ${at} is of the last line`);
  }
});

t.test('findUnfinished() says where the last run was', async (t) => {
  const ended = (state: 'done' | 'failed' | 'interrupted') => ({ type: 'run-ended', run: 1, state }) as const;
  const at = { command: 'init', isInterrupted: true, phase: 'kubelet-start', summary: 'start tkadm-agent' };
  t.equal(findUnfinished([]), undefined);
  t.match(findUnfinished(ENTRIES), at);
  t.match(findUnfinished([...ENTRIES, ended('interrupted')]), at);
  t.equal(findUnfinished([...ENTRIES, ended('done')]), undefined);
  t.match(findUnfinished([...ENTRIES, ended('failed')]), { ...at, isInterrupted: false });
  const side: Entry = { type: 'run-started', run: 2, command: 'preflight', time: '' };
  t.match(findUnfinished([...ENTRIES, side, { type: 'run-ended', run: 2, state: 'done' }]), at);
  const next: Entry = { type: 'run-started', run: 2, command: 'reset', time: '' };
  t.match(findUnfinished([...ENTRIES, next]), {
    command: 'reset',
    isInterrupted: true,
    phase: undefined,
    summary: undefined,
  });
  t.match(findUnfinished(ENTRIES.slice(0, 3)), {
    command: 'init',
    isInterrupted: true,
    phase: 'certs/ca',
    summary: 'write /etc/kubernetes/pki/ca.crt',
  });
});
