import { describeBadPin } from '../tokens/pin.ts';
import type { Checker } from './problems.ts';
import { checkAbsolutePath, checkEndpoint } from './rules.ts';
import type { BootstrapTokenDiscovery, JoinConfig } from './types.ts';
import { validateAgentArguments } from './validate-arguments.ts';
import { validateCertificateKey, validateLocalEndpoint, validateNode } from './validate-node.ts';
import { validateTokenText } from './validate-tokens.ts';

/** Prints a whole join command, on a control-plane node. */
const JOIN_COMMAND = 'On a control-plane node: tkadm token create --print-join-command';

/** Checks how a node finds its cluster and registers. */
export function validateJoin(config: JoinConfig, check: Checker): void {
  validateNode(config.nodeRegistration, check);
  validateAgentArguments(config.nodeRegistration, config.tkadm, check);
  checkAbsolutePath(check, 'caCertPath', config.caCertPath);
  if (!config.caCertPath.endsWith('.crt')) {
    check.invalid('caCertPath', config.caCertPath, 'it must end with ".crt"');
  }
  validateDiscovery(config.discovery, check);
  if (!config.controlPlane) return;
  validateLocalEndpoint(config.controlPlane.localAPIEndpoint, 'controlPlane.localAPIEndpoint', check);
  validateCertificateKey(config.controlPlane.certificateKey, 'controlPlane.certificateKey', check);
}

function validateDiscovery(discovery: JoinConfig['discovery'], check: Checker): void {
  const { bootstrapToken, file, tlsBootstrapToken } = discovery;
  if (!bootstrapToken && !file) {
    const choices = 'one of "bootstrapToken" (--token and the API server\'s address) and "file"';
    check.required('discovery', choices, JOIN_COMMAND);
    return;
  }
  if (bootstrapToken && file) {
    check.invalid('discovery', undefined, '"bootstrapToken" and "file" exclude each other');
  }
  const isOwn = tlsBootstrapToken !== undefined && tlsBootstrapToken !== bootstrapToken?.token;
  if (isOwn) validateTokenText(tlsBootstrapToken, 'discovery.tlsBootstrapToken', check, JOIN_COMMAND);
  if (file && !/^(\/|https:\/\/.)/.test(file.kubeConfigPath ?? '')) {
    check.invalid(
      'discovery.file.kubeConfigPath',
      file.kubeConfigPath ?? '',
      'write an absolute path or an https URL',
    );
  }
  if (bootstrapToken) validateBootstrapToken(bootstrapToken, check);
}

function validateBootstrapToken(discovery: BootstrapTokenDiscovery, check: Checker): void {
  const path = 'discovery.bootstrapToken';
  const { token, apiServerEndpoint, caCertHashes, unsafeSkipCAVerification } = discovery;
  validateTokenText(token, `${path}.token`, check, JOIN_COMMAND);
  if (apiServerEndpoint === '') {
    check.required(`${path}.apiServerEndpoint`, "the API server's address, host:port", JOIN_COMMAND);
  } else checkEndpoint(check, `${path}.apiServerEndpoint`, apiServerEndpoint, true);
  if (caCertHashes.length === 0 && !unsafeSkipCAVerification) {
    check.required(
      `${path}.caCertHashes`,
      'a pin "sha256:HEX" (--discovery-token-ca-cert-hash), or unsafeSkipCAVerification: true',
      JOIN_COMMAND,
    );
  }
  for (const [i, pin] of caCertHashes.entries()) {
    const state = describeBadPin(pin);
    if (state) check.invalid(`${path}.caCertHashes[${i}]`, pin, state, JOIN_COMMAND);
  }
}
