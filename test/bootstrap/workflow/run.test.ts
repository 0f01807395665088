import t from 'tap';
import type { Action } from '../../../bootstrap/workflow/action.ts';
import type { WorkflowEvent } from '../../../bootstrap/workflow/event.ts';
import { checkPhaseNames, type Phase } from '../../../bootstrap/workflow/phase.ts';
import { type RunOptions, runPhases } from '../../../bootstrap/workflow/run.ts';

const remove = (path: string): Action => ({ kind: 'remove', path });

/** A phase that removes a file of its own name, after a while. */
function phase(name: string, more: Partial<Phase<string>> = {}): Phase<string> {
  return { name, summary: name, plan: async () => [remove(name)], ...more };
}

async function run(phases: readonly Phase<string>[], more: Partial<RunOptions<string>> = {}) {
  const done: string[] = [];
  const events: WorkflowEvent[] = [];
  const result = await runPhases({
    phases,
    context: 'context',
    signal: new AbortController().signal,
    isDone: async () => false,
    emit: (event) => events.push(event),
    perform: async (action) => {
      done.push(action.kind === 'remove' ? action.path : action.kind);
    },
    ...more,
  }).catch((error: Error) => error);
  const states = Object.fromEntries(
    events.flatMap((event) => (event.type === 'phase-done' ? [[event.phase, event.state]] : [])),
  );
  return { done, events, states, error: result as (Error & { code?: string; hint?: string }) | undefined };
}

t.test('runPhases() tells why nothing was done, and counts what was', async (t) => {
  const { done, states } = await run([
    phase('a'),
    phase('b', { plan: async () => [] }),
    phase('c', { plan: async () => [], unchanged: 'Passed' }),
    phase('d', { idle: () => 'there is no d here' }),
    phase('e', { plan: async () => [remove('there'), remove('e')] }),
  ]);
  t.same(done, ['a', 'there', 'e']);
  t.same(states, {
    a: undefined,
    b: 'Already there',
    c: 'Passed',
    d: 'Nothing to do: there is no d here',
    e: undefined,
  });
});

t.test('runPhases() leaves out actions whose effect is there', async (t) => {
  const isDone = async (action: Action) => action.kind === 'remove' && action.path === 'there';
  const phases = [phase('a', { plan: async () => [remove('there')] }), phase('b')];
  const { done, events } = await run(phases, { isDone });
  t.same(done, ['b']);
  t.match(
    events.find((event) => event.type === 'phase-done' && event.phase === 'a'),
    { changes: 0, state: 'Already there' },
  );
});

t.test('a wait is no change, but not nothing', async (t) => {
  const wait = { kind: 'wait', subject: 's', timeoutMs: 1, target: { kind: 'file', path: '/' } } as const;
  const { events } = await run([phase('a', { plan: async () => [wait] })]);
  const end = events.find((event) => event.type === 'phase-done');
  t.match(end, { changes: 0 });
  t.notOk(end && 'state' in end);
});

t.test('a dry run goes through the phases in order and performs nothing', async (t) => {
  const slow = phase('slow', {
    plan: async () => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      return [remove('slow')];
    },
  });
  const preview = async (action: Action) => (action.kind === 'remove' ? `- ${action.path}` : undefined);
  const { done, events } = await run([slow, phase('quick'), phase('last', { after: ['slow'] })], { preview });
  t.same(done, []);
  t.same(
    events.flatMap((event) => (event.type === 'action' ? [[event.isDryRun, event.preview]] : [])),
    [
      [true, '- slow'],
      [true, '- quick'],
      [true, '- last'],
    ],
  );
});

t.test('what a phase leaves for its end is done when it fails', async (t) => {
  const failing = phase('failing', {
    plan: async () => {
      throw new Error('no');
    },
    cleanUp: async () => [remove('token')],
  });
  const { done, error, events } = await run([failing, phase('next', { after: ['failing'] })]);
  t.equal(error?.message, 'no');
  t.same(done, ['token']);
  t.notOk(events.some((event) => event.type !== 'note' && event.phase === 'next'));
});

t.test('skip and only take groups and parts, and unknown names are refused with the nearest', async (t) => {
  const phases = [phase('certs/ca'), phase('certs/sa'), phase('addon/coredns'), phase('wait')];
  const cases: readonly [Partial<RunOptions<string>>, readonly string[]][] = [
    [{ skip: ['certs'] }, ['addon/coredns', 'wait']],
    [{ skip: ['certs/sa', 'wait'] }, ['certs/ca', 'addon/coredns']],
    [{ only: ['certs'] }, ['certs/ca', 'certs/sa']],
    [{ only: ['addon/coredns'] }, ['addon/coredns']],
  ];
  for (const [options, expected] of cases) t.same((await run(phases, options)).done, expected);
  const { error, done } = await run(phases, { skip: ['cert'] });
  t.match(error, { code: 'PHASE_UNKNOWN', message: /"cert": invalid phase name/, hint: /"certs"/ });
  t.same(done, []);
  t.throws(() => checkPhaseNames(phases, ['coredns']), { message: /coredns/, hint: /"addon\/coredns"/ });
  t.throws(() => checkPhaseNames(phases, ['certs/x']), { message: /valid ones are certs\/ca, certs\/sa$/ });
});

t.test('a phase that cannot be run is refused alone, and passed over in a whole run', async (t) => {
  const phases = [phase('a'), phase('b/c', { refusal: 'there is no b' }), phase('d', { after: ['b'] })];
  t.same((await run(phases)).done, ['a', 'd']);
  t.same((await run(phases, { skip: ['b'] })).done, ['a', 'd']);
  for (const name of ['b', 'b/c']) {
    const { error, done } = await run(phases, { only: [name] });
    t.match(error, { code: 'UNSUPPORTED', message: `Cannot run phase "${name}": there is no b` });
    t.same(done, []);
  }
});

t.test('runPhases() rolls a phase back that fails, and says when that fails too', async (t) => {
  const fail = { plan: async () => Promise.reject(new Error('first')) };
  const first = await run([
    phase('a'),
    phase('b', { ...fail, after: ['a'], rollBack: async () => [remove('new')] }),
  ]);
  t.same(first.done, ['a', 'new']);
  t.equal(first.error?.message, 'first');
  t.match(first.events, [{}, {}, {}, {}, { type: 'note', message: /Rolling back: first/ }]);
  const nothing = await run([phase('b', { ...fail, rollBack: async () => [] })]);
  t.notOk(
    nothing.events.some(({ type }) => type === 'note'),
    'there was nothing to put back',
  );
  const both = await run([
    phase('b', { ...fail, rollBack: async () => Promise.reject(new Error('second')) }),
  ]);
  t.match(both.error, { code: 'ROLLBACK_FAILED', message: /^first; .*: second$/ });
  t.same(
    (await run([phase('a', { rollBack: async () => [remove('new')] })])).done,
    ['a'],
    'not after success',
  );
});

t.test('runPhases() does not roll back what was interrupted: the same command goes on', async (t) => {
  const stop = new AbortController();
  const plan = async () => {
    stop.abort(new Error('interrupted'));
    throw new Error('interrupted');
  };
  const { done } = await run([phase('a', { plan, rollBack: async () => [remove('new')] })], {
    signal: stop.signal,
  });
  t.same(done, []);
});

t.test('runPhases() tells what is looked at for long, and ends with the signal at once', async (t) => {
  const never = new Promise<never>(() => {});
  const cases: readonly [string, Partial<Phase<string>>, Partial<RunOptions<string>>][] = [
    [
      'Look: Port-6443',
      {
        plan: (_, tell) => {
          tell?.('Port-6443');
          return never;
        },
      },
      {},
    ],
    ['Look: remove there', { plan: async () => [remove('there')] }, { isDone: () => never }],
  ];
  for (const [subject, more, options] of cases) {
    const stop = new AbortController();
    const told: WorkflowEvent[] = [];
    const { error, done } = await run([phase('a', { summary: 'Look', ...more })], {
      ...options,
      progressMs: 1,
      signal: stop.signal,
      emit(event) {
        if (event.type === 'progress') told.push(event);
        if (told.length === 3) stop.abort(new Error('interrupted'));
      },
    });
    t.match(told[2], { phase: 'a', message: `still looking: ${subject} (0 s)` });
    t.match(error, { message: 'interrupted' });
    t.same(done, []);
  }
});
