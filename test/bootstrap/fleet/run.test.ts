import t from 'tap';
import { failureOf, runMembers } from '../../../bootstrap/fleet/run.ts';
import { createFleetReporter } from '../../../bootstrap/render/fleet.ts';
import { TkadmError } from '../../../runtime/base/errors.ts';

const MEMBERS = ['a', 'b', 'c'].map((name) => ({ name }));

async function reporterOf(format: 'text' | 'json') {
  let text = '';
  const write = (part: string) => {
    text += part;
  };
  const output = { write, now: () => new Date(0), isTerminal: false };
  return { reporter: await createFleetReporter(output, { format, command: 'apply' }), text: () => text };
}

t.test('runMembers() works on each for itself', async (t) => {
  const { reporter, text } = await reporterOf('text');
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const done: string[] = [];
  const running = runMembers(
    MEMBERS,
    { reporter, concurrency: 3, signal: new AbortController().signal },
    async ({ name }) => {
      if (name === 'a') await held;
      if (name === 'b') throw new TkadmError('SSH_CONNECT', 'Cannot reach b', { hint: 'ping b' });
      done.push(name);
      if (name === 'c') release();
      return { node: name, outcome: 'joined' };
    },
  );
  const results = await running;
  t.same(done, ['c', 'a'], 'a slow one holds up nobody');
  await reporter.finish(results);
  t.match(text(), /a +a +joined\nb +- +failed +Cannot reach b\nc +c +joined\nb: try: ping b\n$/);
  t.match(failureOf(results, { code: 'APPLY_FAILED', verb: 'apply to' }), {
    message: 'Cannot apply to 1 of 3 machines',
    details: { hosts: [{ host: 'a', ok: true }, { host: 'b', ok: false, code: 'SSH_CONNECT' }, {}] },
  });
});

t.test('runMembers() begins no more than so many at one time, and none after a signal', async (t) => {
  const { reporter, text } = await reporterOf('json');
  const stop = new AbortController();
  let running = 0;
  let most = 0;
  const results = await runMembers(
    [...MEMBERS, { name: 'd' }],
    { reporter, concurrency: 2, signal: stop.signal },
    async ({ name }, machine) => {
      running += 1;
      most = Math.max(most, running);
      machine.progress(`step of ${name}`);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (name === 'b') stop.abort();
      stop.signal.throwIfAborted();
      return { node: name, outcome: 'unchanged' };
    },
  );
  t.equal(most, 2);
  t.match(results.at(-1)?.error?.message, 'Interrupted: nothing was begun');
  t.match(results[1]?.error?.message, /it was at "step of b"/);
  const events = text()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(
    events.find((event) => event.type === 'host' && event.host === 'd'),
    {
      command: 'apply',
      ok: false,
      code: 'INTERRUPTED',
    },
  );
});
