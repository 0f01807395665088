import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import type { RuntimeOptions } from '../../runtime/cri/create-runtime.ts';
import { createRuntime } from '../../runtime/cri/create-runtime.ts';

// A runtime in a process of its own, so that a test can kill it: its options are JSON in the first argument.
const options = JSON.parse(process.argv[2] ?? '{}') as Omit<RuntimeOptions, 'now' | 'log'>;
await createRuntime({ ...options, now: () => new Date(), log: SILENT_LOGGER });
process.stdout.write('ready\n');
