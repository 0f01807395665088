import { formatError, TkadmError } from '../../base/errors.ts';
import { parseFlags } from '../../base/flags.ts';
import { createLogger } from '../../base/log.ts';
import { KUBERNETES_VERSION } from '../../base/version.ts';
import { ClusterCache } from '../component/cluster-cache.ts';
import { runComponent } from '../component/component.ts';
import { formatFlagHelp } from '../component/component-flags.ts';
import { EventRecorder } from '../component/event-recorder.ts';
import { FLAGS } from './flags.ts';
import { SCHEDULER_KINDS, SCHEDULER_NAME, Scheduler } from './scheduler.ts';

const NAME = 'kube-scheduler';

async function main(): Promise<void> {
  const flags = parseFlags(FLAGS, process.argv.slice(2));
  if (flags.help)
    return void process.stdout.write(`Usage:\n  ${NAME} [flags]\n\nFlags:\n${formatFlagHelp(FLAGS)}`);
  if (flags.version) return void process.stdout.write(`Kubernetes ${KUBERNETES_VERSION}\n`);
  if (flags.config !== undefined) {
    throw new TkadmError('UNSUPPORTED', `Cannot use flag "--config=${flags.config}": it is not supported`);
  }
  const now = () => new Date();
  const log = createLogger({
    name: NAME,
    level: flags.v >= 4 ? 'debug' : 'info',
    write: (line) => process.stderr.write(line),
    now,
  });
  const end = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => end.abort());
  let cache: ClusterCache | undefined;
  await runComponent({
    name: NAME,
    flags,
    healthPaths: ['/healthz', '/livez', '/readyz'],
    env: process.env,
    signal: end.signal,
    log,
    now,
    prepare(client, signal) {
      cache = new ClusterCache(client, { signal, log: log.child('cache') });
      for (const kind of SCHEDULER_KINDS) cache.follow(kind);
    },
    async lead(client, signal) {
      const recorder = new EventRecorder({ client, component: SCHEDULER_NAME, now });
      const record = recorder.record.bind(recorder);
      await new Scheduler({ client, cache: cache!, record, signal, now, log, random: Math.random }).run();
    },
  }).catch((error) => {
    if (!end.signal.aborted) throw error;
  });
}

main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${NAME}: ${formatError(error)}\n`);
    process.exit(1);
  },
);
