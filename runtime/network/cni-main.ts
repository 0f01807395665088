import { formatError, isTkadmError, TkadmError } from '../base/errors.ts';
import { addToBridge, checkOnBridge, deleteFromBridge } from './bridge.ts';
import type { BridgeConfig, CniArguments } from './cni-types.ts';

const VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];

/** Error codes of CNI specification §5: an invalid variable, and the first that plugins may use. */
const INVALID_ENVIRONMENT = 4;
const PLUGIN_FAILED = 100;

/** The plugin as an executable: CNI_* variables and the configuration on standard input, the result on output. */
async function main(): Promise<unknown> {
  const command = process.env['CNI_COMMAND'];
  if (command === 'VERSION') return { cniVersion: '1.0.0', supportedVersions: VERSIONS };
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const config = JSON.parse(Buffer.concat(chunks).toString('utf8')) as BridgeConfig;
  const args: CniArguments = {
    containerId: process.env['CNI_CONTAINERID'] ?? '',
    netns: process.env['CNI_NETNS'] || undefined,
    interfaceName: process.env['CNI_IFNAME'] ?? 'eth0',
  };
  if (command === 'ADD') return addToBridge(config, args);
  if (command === 'DEL') return deleteFromBridge(config, args);
  if (command === 'CHECK') return checkOnBridge(config, args);
  if (command === 'GC' || command === 'STATUS') return undefined;
  throw new TkadmError('UNSUPPORTED', `Cannot do CNI command "${command}": it is not supported`);
}

main().then(
  (result) => {
    if (result !== undefined) process.stdout.write(JSON.stringify(result));
  },
  (error) => {
    const code = isTkadmError(error, 'UNSUPPORTED') ? INVALID_ENVIRONMENT : PLUGIN_FAILED;
    process.stdout.write(JSON.stringify({ cniVersion: '1.0.0', code, msg: formatError(error) }));
    process.exitCode = 1;
  },
);
