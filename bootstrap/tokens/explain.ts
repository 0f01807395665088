import { connect } from 'node:tls';
import { ApiError } from '../../runtime/api/api-error.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { CLUSTER_INFO_PATH } from './cluster-info.ts';

/** Codes of a TLS peer that is reached and not trusted (tls.TLSSocket authorizationError). */
const UNTRUSTED =
  /^(CERT_|UNABLE_TO_(GET|VERIFY)_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|ERR_TLS_CERT_ALTNAME)/;
const NOT_TLS =
  /wrong version number|EPROTO|packet length too long|SSL routines|ERR_SSL_|disconnected before secure TLS/i;

/** What is known of a connection that could not be made, by Node.js system error. */
const UNREACHABLE: Readonly<Record<string, readonly [reason: string, state: string]>> = {
  ECONNREFUSED: ['refused', 'the connection is refused: nothing listens there'],
  ECONNRESET: ['reset', 'the connection is cut'],
  EPIPE: ['reset', 'the connection is cut'],
  ENOTFOUND: ['unknown-name', 'its name is not known'],
  EAI_AGAIN: ['unknown-name', 'no name server answers'],
  EHOSTUNREACH: ['no-route', 'there is no way to that machine'],
  ENETUNREACH: ['no-route', 'there is no route to its network'],
  ETIMEDOUT: ['timeout', 'it does not answer'],
};

/** The discovery failure for what went wrong in a request for cluster-info; other errors as they are. */
export async function explainFailure(error: unknown, endpoint: string): Promise<unknown> {
  if (error instanceof ApiError) return explainAnswer(error, endpoint);
  if (error instanceof SyntaxError) return notAnApiServer(endpoint, 'its answer is no cluster-info', error);
  if (!isTkadmError(error, 'API_UNREACHABLE')) return error;
  const cause = error.cause as NodeJS.ErrnoException | undefined;
  const code = String(cause?.code ?? '');
  const message = cause?.message || error.message;
  if (UNTRUSTED.test(code)) return explainCertificate(code, message, endpoint);
  if (NOT_TLS.test(`${code} ${message}`)) return notAnApiServer(endpoint, 'it does not speak TLS', error);
  const isTimeout = /^no (connection|answer) within/.test(message);
  const [reason, state] = UNREACHABLE[isTimeout ? 'ETIMEDOUT' : code] ?? ['unknown', message];
  return new TkadmError(
    'DISCOVERY_UNREACHABLE',
    `Cannot reach the API server at "${endpoint}": ${state}${isTimeout ? ` (${message})` : ''}`,
    {
      cause: error,
      hint: `curl -k https://${endpoint}/livez, from this machine; is that the control plane's address, and no firewall between?`,
      details: { reason },
    },
  );
}

/** An HTTP answer that is a refusal. */
function explainAnswer(error: ApiError, endpoint: string): TkadmError {
  const { httpStatus, status, reason } = error;
  const isKubernetes = status.kind === 'Status';
  if (isKubernetes && httpStatus === 404) {
    return new TkadmError(
      'DISCOVERY_NO_CLUSTER_INFO',
      `Cannot find cluster-info at "${endpoint}": there is no ConfigMap kube-public/cluster-info`,
      { cause: error, hint: 'tkadm init phase bootstrap-token, on the control plane' },
    );
  }
  if (isKubernetes && (httpStatus === 401 || httpStatus === 403)) {
    const state =
      httpStatus === 401
        ? 'the API server answers no anonymous request (--anonymous-auth=false)'
        : 'anonymous requests may not read it (Role kube-public/kubeadm:bootstrap-signer-clusterinfo)';
    return new TkadmError('DISCOVERY_DENIED', `Cannot read cluster-info at "${endpoint}": ${state}`, {
      cause: error,
      hint: 'Join with a kubeconfig: tkadm join --discovery-file FILE --tls-bootstrap-token TOKEN',
      details: { reason },
    });
  }
  if (httpStatus === 429 || httpStatus >= 500) {
    return new TkadmError(
      'DISCOVERY_UNREACHABLE',
      `Cannot ask the API server at "${endpoint}": it is not ready and answers HTTP ${httpStatus}`,
      { cause: error, hint: `curl -k https://${endpoint}/readyz?verbose`, details: { reason: 'not-ready' } },
    );
  }
  return notAnApiServer(endpoint, `GET ${CLUSTER_INFO_PATH} is answered with HTTP ${httpStatus}`, error);
}

function notAnApiServer(endpoint: string, state: string, cause: unknown): TkadmError {
  return new TkadmError('DISCOVERY_NO_API_SERVER', `Cannot use "${endpoint}" as API server: ${state}`, {
    cause,
    hint: 'Give the address and port of the control plane, for example 10.0.0.1:6443',
  });
}

/** A server certificate that does not pass: of another CA, for another name, or at another time. */
async function explainCertificate(code: string, message: string, endpoint: string): Promise<TkadmError> {
  if (code === 'CERT_NOT_YET_VALID' || code === 'CERT_HAS_EXPIRED') {
    const validity = await readValidity(endpoint);
    return new TkadmError(
      code === 'CERT_NOT_YET_VALID' ? 'DISCOVERY_CLOCK' : 'DISCOVERY_CERTIFICATE',
      `Cannot trust the server at "${endpoint}": its certificate ${code === 'CERT_NOT_YET_VALID' ? 'is not yet valid' : 'has expired'}${validity && `; it is valid ${validity}`}`,
      {
        hint:
          code === 'CERT_NOT_YET_VALID'
            ? 'date, on this machine and on the control plane; then set the wrong clock'
            : 'tkadm certs renew all, on the control plane',
      },
    );
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH') {
    return new TkadmError(
      'DISCOVERY_CERTIFICATE',
      `Cannot trust the server at "${endpoint}": its certificate is for other names: ${message}`,
      {
        hint: "Join by an address that the API server's certificate names, or add this one: --apiserver-cert-extra-sans of tkadm init",
      },
    );
  }
  return new TkadmError(
    'DISCOVERY_CA_MISMATCH',
    `Cannot trust the server at "${endpoint}": its certificate is not of the cluster's CA: ${message}`,
    { hint: 'Is something between this machine and the control plane that ends TLS?' },
  );
}

/** "from ... to ..." of the certificate that the server shows; "" when it cannot be had. */
async function readValidity(endpoint: string): Promise<string> {
  const { hostname, port } = new URL(`https://${endpoint}`);
  const socket = connect({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 443),
    rejectUnauthorized: false,
    timeout: 3_000,
  });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
      socket.once('timeout', () => reject(new Error('no answer')));
    });
    const { valid_from: from, valid_to: to } = socket.getPeerCertificate();
    return `from ${new Date(from).toISOString()} to ${new Date(to).toISOString()}`;
  } catch {
    return '';
  } finally {
    socket.destroy();
  }
}
