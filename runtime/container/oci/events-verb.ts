import { TkadmError } from '../../base/errors.ts';
import { parseDuration } from '../../base/flags.ts';
import { sleep } from '../../base/time.ts';
import type { Cgroup } from '../cgroup/cgroup.ts';
import { type Call, findContainer, hasOption, option, type Verb } from './call.ts';

/** How often the count of OOM kills is looked at. */
const OOM_POLL_MS = 100;

export const EVENTS_VERB: Verb = {
  name: 'events',
  args: 'ID',
  maxArgs: 1,
  summary: 'print usage and OOM events as JSON lines until the container ends',
  options: [
    { name: 'interval', kind: 'value', help: 'time between two lines, default "5s"' },
    { name: 'stats', kind: 'switch', help: 'print the usage once' },
  ],
  run: events,
};

async function events(call: Call): Promise<number> {
  const { engine, id, status } = await findContainer(call);
  if (status.state === 'exited')
    throw new TkadmError('CONTAINER_STATE', `Cannot watch container "${id}": it has stopped`);
  const cgroup = engine.cgroup(id);
  if (cgroup === undefined)
    throw new TkadmError('CONTAINER_STATE', `Cannot watch container "${id}": it has no cgroup`);
  const intervalMs = parseDuration(option(call, 'interval') ?? '5s');
  if (!(intervalMs > 0)) throw new TkadmError('FLAG_INVALID', 'Cannot use "--interval": it is not positive');
  const print = (type: string, data?: unknown) => call.print(`${JSON.stringify({ type, id, data })}\n`);
  if (hasOption(call, 'stats')) {
    print('stats', cgroup.usage());
    return 0;
  }
  const ended = new AbortController();
  void engine.wait(id).then(() => ended.abort());
  await Promise.all([
    repeat(intervalMs, ended.signal, () => print('stats', cgroup.usage())),
    watchOom(cgroup, ended.signal, () => print('oom')),
  ]);
  return 0;
}

async function repeat(intervalMs: number, signal: AbortSignal, act: () => void): Promise<void> {
  while (!signal.aborted) {
    await sleep(intervalMs, signal).catch(() => {});
    if (!signal.aborted) act();
  }
}

/** One call for each process that the kernel has killed. */
async function watchOom(cgroup: Cgroup, signal: AbortSignal, act: () => void): Promise<void> {
  let seen = cgroup.oomKills();
  const look = () => {
    const count = cgroup.oomKills();
    for (; seen < count; seen += 1) act();
  };
  await repeat(OOM_POLL_MS, signal, look);
  look();
}
