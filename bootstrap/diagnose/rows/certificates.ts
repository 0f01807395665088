import { PATHS } from '../../../runtime/base/paths.ts';
import type { DiagnosisRow, Match } from '../diagnosis.ts';
import type { CertificateEvidence, MachineEvidence } from '../evidence.ts';

const SKEW_MS = 60_000;
const NODE = 'node';

/** Certificates and the clocks that judge them. */
export const CERTIFICATE_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'clock-wrong',
    of: 'machine',
    summary: "The machine's clock differs from the API server's by more than a minute",
    confidence: 'certain',
    matches: ({ probes, name }) => {
      const probe = probes.find(({ skewMs = 0 }) => Math.abs(skewMs) > SKEW_MS);
      if (!probe) return undefined;
      const skewMs = probe.skewMs ?? 0;
      const seconds = Math.round(Math.abs(skewMs) / 1000);
      return {
        cause: `the clock of ${name} is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the API server's: certificates and tokens are judged wrongly`,
        fix: 'timedatectl set-ntp true, or set the clock by date',
        evidence: [`the Date header of ${probe.url} differs by ${seconds} s`],
      };
    },
  },
  {
    name: 'node-certificate-expired',
    of: 'machine',
    summary: "The agent's own certificate has expired or is not valid yet",
    confidence: 'certain',
    matches: (machine) =>
      findProblem(
        machine,
        ['expired', 'not-yet-valid'],
        (name) => name === NODE,
        (row, message) => ({
          cause: `the agent of ${machine.name} is not let in: ${message}`,
          fix:
            machine.role === 'control-plane'
              ? 'tkadm init phase kubeconfig kubelet, after removing kubelet.conf; then: tkadm service stop; tkadm service start'
              : 'tkadm reset -f; then join it again: tkadm token create --print-join-command, on the control plane',
          evidence: [`"${row.path}": ${message}`],
        }),
      ),
  },
  {
    name: 'certificate-expired',
    of: 'machine',
    summary: 'A certificate of the control plane has expired or is not valid yet',
    confidence: 'certain',
    matches: (machine) =>
      findProblem(
        machine,
        ['expired', 'not-yet-valid'],
        (name) => name !== NODE,
        (row, message) => ({
          cause: `the certificate "${row.name}" on ${machine.name} is not valid: ${message}`,
          fix: row.name.endsWith('ca')
            ? 'make a new CA; certs renew renews certificates, not CAs'
            : `tkadm certs renew ${row.name}`,
          evidence: [`"${row.path}": ${message}`],
        }),
      ),
  },
  {
    name: 'certificate-authority-wrong',
    of: 'machine',
    summary: 'A certificate is not of the CA that stands beside it',
    confidence: 'certain',
    matches: (machine) =>
      findProblem(
        machine,
        ['issuer', 'signature', 'not-ca', 'other-ca'],
        () => true,
        (row, message) => ({
          cause: `"${row.path}" on ${machine.name} does not belong to the cluster's CA: ${message}`,
          fix:
            row.name === 'trust' || row.name === NODE
              ? `put the cluster's own CA back at "${PATHS.pki}/ca.crt", or: tkadm reset -f and join again`
              : `put the CA back that was there, or issue anew: tkadm certs renew ${row.name}`,
          evidence: [`"${row.path}": ${message}`],
        }),
      ),
  },
  {
    name: 'certificate-damaged',
    of: 'machine',
    summary: 'A certificate cannot be read',
    confidence: 'certain',
    matches: (machine) =>
      findProblem(
        machine,
        ['damaged'],
        () => true,
        (row, message) => ({
          cause: `"${row.path}" on ${machine.name} is damaged`,
          fix: `remove it and issue it anew: tkadm init phase certs ${row.name}`,
          evidence: [message],
        }),
      ),
  },
  {
    name: 'server-distrusted',
    of: 'machine',
    summary: "The API server's certificate is not trusted: another CA, or another name",
    confidence: 'likely',
    matches: ({ probes, name }) => {
      const probe = probes.find(({ distrust }) => distrust !== undefined);
      if (!probe) return undefined;
      const isName = probe.distrust === 'ERR_TLS_CERT_ALTNAME_INVALID';
      return {
        cause: isName
          ? `the API server's certificate is not for the address that ${name} uses`
          : `${name} does not trust the API server's certificate`,
        fix: isName
          ? 'on the control plane: tkadm certs renew apiserver, with the address in apiServer.certSANs'
          : `compare "${PATHS.pki}/ca.crt" with the control plane's; after another CA: tkadm reset -f and join again`,
        evidence: [`${probe.url}: ${probe.distrust}`],
      };
    },
  },
];

function findProblem(
  { certificates }: MachineEvidence,
  kinds: readonly string[],
  isMeant: (name: string) => boolean,
  build: (row: CertificateEvidence, message: string) => Match,
): Match | undefined {
  for (const row of certificates) {
    const problem = isMeant(row.name) && row.problems.find(({ kind }) => kinds.includes(kind));
    if (problem) return build(row, problem.message);
  }
  return undefined;
}
