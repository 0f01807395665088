import { formatError, isTkadmError } from '../../base/errors.ts';
import { parseFlags } from '../../base/flags.ts';
import { createLogger } from '../../base/log.ts';
import { KUBERNETES_VERSION } from '../../base/version.ts';
import { runComponent } from '../component/component.ts';
import { formatFlagHelp } from '../component/component-flags.ts';
import { FLAGS } from './flags.ts';
import { ControllerManager } from './manager.ts';
import { loadSettings } from './settings.ts';
import { selectControllers } from './table.ts';

const NAME = 'kube-controller-manager';

async function main(): Promise<void> {
  const flags = parseFlags(FLAGS, process.argv.slice(2));
  if (flags.help)
    return void process.stdout.write(`Usage:\n  ${NAME} [flags]\n\nFlags:\n${formatFlagHelp(FLAGS)}`);
  if (flags.version) return void process.stdout.write(`Kubernetes ${KUBERNETES_VERSION}\n`);
  const now = () => new Date();
  const log = createLogger({
    name: NAME,
    level: flags.v >= 4 ? 'debug' : 'info',
    write: (line) => process.stderr.write(line),
    now,
  });
  const rows = selectControllers(flags.controllers);
  const manager = new ControllerManager({
    rows,
    settings: await loadSettings(flags),
    usesServiceAccounts: flags['use-service-account-credentials'],
    now,
    log,
  });
  const end = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => end.abort());
  await runComponent({
    name: NAME,
    flags,
    healthPaths: ['/healthz', '/livez', '/readyz'],
    env: process.env,
    signal: end.signal,
    log,
    now,
    prepare: (client, signal) => manager.follow(client, signal),
    lead: (client, signal) => manager.run(client, signal),
  }).catch((error) => {
    if (!end.signal.aborted) throw error;
  });
}

main().then(
  () => process.exit(0),
  (error) => {
    const hint = isTkadmError(error) && error.hint ? `\n${error.hint}` : '';
    process.stderr.write(`${NAME}: ${formatError(error)}${hint}\n`);
    process.exit(1);
  },
);
