import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { RESOURCES } from '../../api/resources.ts';
import { isTkadmError, TkadmError } from '../../base/errors.ts';
import { type FlagValues, parseFlags } from '../../base/flags.ts';
import { createLogger, type Logger } from '../../base/log.ts';
import { createAdmissionPlugins } from '../admission/plugins.ts';
import { createStrategies } from '../admission/strategies.ts';
import { AUTHORIZATION_MODES, createAuthorizer } from '../auth/authorizer.ts';
import { buildBootstrapPolicy } from '../auth/bootstrap-policy/policy.ts';
import { ClusterState } from '../store/cluster-state.ts';
import { ApiServer } from './api-server.ts';
import { ensureServerEndpoints, ensureSystemObjects } from './bootstrap.ts';
import { storedRows } from './conversions.ts';
import { API_SERVER_FLAGS } from './flags.ts';
import { openStore } from './open-store.ts';
import { ServerAddresses } from './server-addresses.ts';
import { createServerCredentials } from './server-credentials.ts';
import { type FileGroupName, ServerFiles } from './server-files.ts';
import type { SystemObjectOptions } from './system-objects.ts';

type Flags = FlagValues<typeof API_SERVER_FLAGS>;

async function main(): Promise<void> {
  const flags = parseFlags(API_SERVER_FLAGS, process.argv.slice(2));
  const logger = createLogger({
    name: 'kube-apiserver',
    level: flags.v >= 4 ? 'debug' : 'info',
    write: (line) => process.stderr.write(line),
    now: () => new Date(),
  });
  const stop = await start(flags, logger);
  let isStopping = false;
  const onSignal = (signal: string) => {
    if (isStopping) return;
    isStopping = true;
    logger.info('stopping', { signal });
    stop().then(
      () => process.exit(0),
      (error) => {
        logger.error('cannot stop cleanly', { error: String(error) });
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

async function start(flags: Flags, logger: Logger): Promise<() => Promise<void>> {
  requireServingFiles(flags);
  const files = await ServerFiles.read(flags);
  const { store, filesChanged } = await openStore({ flags, files, logger, onLost: failWith(logger) });
  const state = await ClusterState.load({ store, rows: storedRows(RESOURCES), now: Date.now, logger });
  const now = () => new Date();
  const credentials = createServerCredentials({ flags, files, reader: state, now });
  const authorizer = createAuthorizer({ reader: state, modes: authorizationModes(flags) });
  const admissionOptions = {
    reader: state,
    authorizer,
    enabled: flags['enable-admission-plugins'],
    disabled: flags['disable-admission-plugins'],
    serviceCidrs: flags['service-cluster-ip-range'],
    nodePortRange: parsePortRange(flags['service-node-port-range']),
    now,
    randomBytes,
  };
  const advertiseAddress = flags['advertise-address'] ?? firstAddress(flags['bind-address']);
  const server = new ApiServer({
    state,
    authenticator: credentials.authenticator,
    authorizer,
    admission: [...createAdmissionPlugins(admissionOptions), ...createStrategies(admissionOptions)],
    tokenIssuer: credentials.tokenIssuer,
    kubelet: () => ({ ...files.kubelet, addressTypes: flags['kubelet-preferred-address-types'] }),
    tls: tlsOptions(files),
    serverAddress: `${advertiseAddress}:${flags['secure-port']}`,
    eventTtlMs: flags['event-ttl'],
    buildDate: BUILD_DATE,
    logger,
    now,
    random: Math.random,
  });
  const port = await server.listen(flags['bind-address'], flags['secure-port']);
  const addresses = new ServerAddresses({ store, address: advertiseAddress, logger });
  let serverAddresses = await addresses.announce();
  const system = () => systemObjectOptions(flags, files, { serverAddresses, port });
  await ensureSystemObjects(server.registry, system(), buildBootstrapPolicy());
  server.markReady();
  logger.info('ready', { address: flags['bind-address'], port, afterMs: Math.round(performance.now()) });
  const direct = (others: readonly string[]) => {
    serverAddresses = others;
    return ensureServerEndpoints(server.registry, { serverAddresses, securePort: port });
  };
  addresses.follow(direct);
  const end = new AbortController();
  files.follow({
    onChange: async (name) => {
      filesChanged(name);
      credentials.reload();
      if (TLS_GROUPS.includes(name)) server.setTls(tlsOptions(files));
      // The ConfigMap that tells extension servers whom to trust.
      if (name === 'clientCa' || name === 'requestHeaderCa') {
        await ensureSystemObjects(server.registry, system(), []);
      }
    },
    log: logger.child('credentials'),
    signal: end.signal,
  });
  return async () => {
    end.abort();
    // etcd may be what has failed: then the lease ends by itself.
    await addresses.leave().then(
      (others) => others && direct(others),
      () => {},
    );
    await server.close();
    state.stop();
    await store.close();
  };
}

/** Ends the process, which is started again and reads everything anew. */
function failWith(logger: Logger): (error: TkadmError) => void {
  return (error) => {
    logger.error('the store cannot be followed any more', { error: error.message, hint: error.hint });
    process.exit(1);
  };
}

/** The date in `GET /version`; a release's own date is not known to the sources. */
const BUILD_DATE = '2026-01-01T00:00:00Z';

/** Files that TLS handshakes depend on. */
const TLS_GROUPS: readonly FileGroupName[] = ['serving', 'clientCa', 'requestHeaderCa'];

function tlsOptions(files: ServerFiles) {
  const clientCas = [files.clientCa, files.requestHeaderCa].filter((pem) => pem !== undefined);
  return { ...files.serving, clientCas };
}

function requireServingFiles(flags: Flags): void {
  if (flags['tls-cert-file'] && flags['tls-private-key-file']) return;
  throw new TkadmError(
    'SERVER_CONFIG',
    'Cannot serve: "--tls-cert-file" or "--tls-private-key-file" is missing',
  );
}

function authorizationModes(flags: Flags) {
  return flags['authorization-mode'].map((mode) => {
    const known = AUTHORIZATION_MODES.find((candidate) => candidate === mode);
    if (known) return known;
    throw new TkadmError('UNSUPPORTED', `Cannot use authorization mode "${mode}": not supported`, {
      hint: `The modes are ${AUTHORIZATION_MODES.join(', ')}`,
    });
  });
}

function systemObjectOptions(
  flags: Flags,
  files: ServerFiles,
  place: { readonly serverAddresses: readonly string[]; readonly port: number },
): SystemObjectOptions {
  const serviceCidrs = flags['service-cluster-ip-range'];
  return {
    serverAddresses: place.serverAddresses,
    securePort: place.port,
    serviceCidrs,
    kubernetesServiceIp: firstServiceAddress(serviceCidrs[0] ?? ''),
    clientCaPem: files.clientCa,
    requestHeader: files.requestHeaderCa
      ? {
          caPem: files.requestHeaderCa,
          allowedNames: flags['requestheader-allowed-names'],
          extraPrefixes: flags['requestheader-extra-headers-prefix'],
          groupHeaders: flags['requestheader-group-headers'],
          usernameHeaders: flags['requestheader-username-headers'],
        }
      : undefined,
  };
}

/** "30000-32767" */
function parsePortRange(text: string): { readonly from: number; readonly to: number } {
  const match = /^(\d+)-(\d+)$/.exec(text);
  if (!match) {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot use flag "--service-node-port-range=${text}": write it like "30000-32767"`,
    );
  }
  return { from: Number(match[1]), to: Number(match[2]) };
}

/** "10.96.0.0/12" → "10.96.0.1"; "fd00::/108" → "fd00::1". */
function firstServiceAddress(cidr: string): string {
  const network = cidr.split('/')[0]!;
  if (network.includes(':')) return network.endsWith('::') ? `${network}1` : network.replace(/0?$/, '1');
  const parts = network.split('.');
  return [...parts.slice(0, 3), String(Number(parts[3]) + 1)].join('.');
}

function firstAddress(bindAddress: string): string {
  if (bindAddress !== '0.0.0.0' && bindAddress !== '::') return bindAddress;
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find((item) => !item.internal && item.family === 'IPv4')?.address ?? '127.0.0.1';
}

main().catch((error) => {
  const hint = isTkadmError(error) && error.hint ? `\n${error.hint}` : '';
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}${hint}\n`);
  process.exit(1);
});
