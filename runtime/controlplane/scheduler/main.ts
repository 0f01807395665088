import { TkadmError } from '../../base/errors.ts';
import { ClusterCache } from '../component/cluster-cache.ts';
import { EventRecorder } from '../component/event-recorder.ts';
import { runProgram } from '../component/main.ts';
import { FLAGS } from './flags.ts';
import { SCHEDULER_KINDS, SCHEDULER_NAME, Scheduler } from './scheduler.ts';

runProgram(FLAGS, {
  name: 'kube-scheduler',
  async createWork({ flags, now, log }) {
    if (flags.config !== undefined) {
      throw new TkadmError('UNSUPPORTED', `Cannot use flag "--config=${flags.config}": it is not supported`);
    }
    let cache: ClusterCache | undefined;
    return {
      prepare(client, signal) {
        cache = new ClusterCache(client, { signal, log: log.child('cache') });
        for (const kind of SCHEDULER_KINDS) cache.follow(kind);
      },
      async lead(client, signal) {
        const recorder = new EventRecorder({ client, component: SCHEDULER_NAME, now });
        const record = recorder.record.bind(recorder);
        await new Scheduler({ client, cache: cache!, record, signal, now, log, random: Math.random }).run();
      },
    };
  },
});
