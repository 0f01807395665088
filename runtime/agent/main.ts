import { formatError } from '../base/errors.ts';
import { parseFlags } from '../base/flags.ts';
import { createLogger } from '../base/log.ts';
import { runAgent } from './agent.ts';
import { AGENT_FLAGS } from './options.ts';

const DEBUG_VERBOSITY = 4;

async function main(): Promise<void> {
  const flags = parseFlags(AGENT_FLAGS, process.argv.slice(2));
  const controller = new AbortController();
  // Every pod and every loop listens.
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => controller.abort());
  const log = createLogger({
    name: 'tkadm-agent',
    level: flags.v >= DEBUG_VERBOSITY ? 'debug' : 'info',
    write: (line) => process.stderr.write(line),
    now: () => new Date(),
  });
  process.on('unhandledRejection', (error) => log.error(`Unhandled: ${formatError(error)}`));
  await runAgent({
    flags,
    log,
    now: () => Date.now(),
    random: () => Math.random(),
    rssBytes: () => process.memoryUsage.rss(),
    signal: controller.signal,
  });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`tkadm-agent: ${formatError(error)}\n`);
    process.exit(1);
  },
);
