import { nthAddress, parseCidr } from '../runtime/base/cidr.ts';
import { type KeyUsage, normalizeSubjectAltNames, type SubjectAltNames } from './extensions.ts';
import type { CertificateSpec } from './issue.ts';

/** Stands for the node's name in a commonName of the table. */
const NODE_NAME = '{nodeName}';

export interface CertificateRow {
  /** The phase's name below "certs/". */
  readonly name: string;
  /** Path below the certificates directory, without ".crt" and ".key". */
  readonly baseName: string;
  /** The row that signs this one; a row without is a certificate authority. */
  readonly issuer?: string;
  readonly commonName: string;
  readonly usages: readonly KeyUsage[];
  readonly subjectAltNames?: 'apiserver' | 'etcd-server' | 'etcd-peer';
  /** Only with an etcd that this installer runs. */
  readonly isEtcd?: boolean;
}

/** Every certificate of a control-plane node; issuers before leaves. */
export const CERTIFICATES = [
  { name: 'ca', baseName: 'ca', commonName: 'kubernetes', usages: [] },
  {
    name: 'apiserver',
    baseName: 'apiserver',
    issuer: 'ca',
    commonName: 'kube-apiserver',
    usages: ['server auth'],
    subjectAltNames: 'apiserver',
  },
  {
    name: 'apiserver-kubelet-client',
    baseName: 'apiserver-kubelet-client',
    issuer: 'ca',
    commonName: 'kube-apiserver-kubelet-client',
    usages: ['client auth'],
  },
  { name: 'front-proxy-ca', baseName: 'front-proxy-ca', commonName: 'front-proxy-ca', usages: [] },
  {
    name: 'front-proxy-client',
    baseName: 'front-proxy-client',
    issuer: 'front-proxy-ca',
    commonName: 'front-proxy-client',
    usages: ['client auth'],
  },
  { name: 'etcd-ca', baseName: 'etcd/ca', commonName: 'etcd-ca', usages: [], isEtcd: true },
  {
    name: 'etcd-server',
    baseName: 'etcd/server',
    issuer: 'etcd-ca',
    commonName: NODE_NAME,
    usages: ['server auth', 'client auth'],
    subjectAltNames: 'etcd-server',
    isEtcd: true,
  },
  {
    name: 'etcd-peer',
    baseName: 'etcd/peer',
    issuer: 'etcd-ca',
    commonName: NODE_NAME,
    usages: ['server auth', 'client auth'],
    subjectAltNames: 'etcd-peer',
    isEtcd: true,
  },
  {
    name: 'etcd-healthcheck-client',
    baseName: 'etcd/healthcheck-client',
    issuer: 'etcd-ca',
    commonName: 'kube-etcd-healthcheck-client',
    usages: ['client auth'],
    isEtcd: true,
  },
  {
    name: 'apiserver-etcd-client',
    baseName: 'apiserver-etcd-client',
    issuer: 'etcd-ca',
    commonName: 'kube-apiserver-etcd-client',
    usages: ['client auth'],
    isEtcd: true,
  },
] as const satisfies readonly CertificateRow[];

export type CertificateName = (typeof CERTIFICATES)[number]['name'];

/** What the certificates of a control-plane node depend on; the loaded configuration fits. */
export interface CertificateInput {
  readonly nodeRegistration: { readonly name: string };
  readonly localAPIEndpoint: { readonly advertiseAddress: string };
  readonly cluster: {
    readonly controlPlaneEndpoint?: string | undefined;
    readonly networking: { readonly serviceSubnet: string; readonly dnsDomain: string };
    readonly apiServer: { readonly certSANs?: readonly string[] | undefined };
    readonly etcd: {
      readonly local?:
        | {
            readonly serverCertSANs?: readonly string[] | undefined;
            readonly peerCertSANs?: readonly string[] | undefined;
          }
        | undefined;
    };
  };
}

/** The row of a certificate. */
export function findCertificate(name: CertificateName): CertificateRow {
  return CERTIFICATES.find((row) => row.name === name)!;
}

/** Subject and usages of a row for a node. A client certificate for the API server carries no group here. */
export function buildCertificateSpec(row: CertificateRow, input: CertificateInput): CertificateSpec {
  const commonName = row.commonName === NODE_NAME ? input.nodeRegistration.name : row.commonName;
  return { commonName, organizations: [], usages: row.usages };
}

/** The names that a row's certificate must be valid for on a node; none for clients. */
export function buildSubjectAltNames(row: CertificateRow, input: CertificateInput): SubjectAltNames {
  const { cluster, localAPIEndpoint, nodeRegistration } = input;
  const own = [nodeRegistration.name, localAPIEndpoint.advertiseAddress];
  const etcd = [nodeRegistration.name, 'localhost', localAPIEndpoint.advertiseAddress, '127.0.0.1', '::1'];
  switch (row.subjectAltNames) {
    case 'apiserver':
      return normalizeSubjectAltNames([...apiServerNames(cluster), ...own, ...endpointNames(cluster)]);
    case 'etcd-server':
      return normalizeSubjectAltNames([...etcd, ...(cluster.etcd.local?.serverCertSANs ?? [])]);
    case 'etcd-peer':
      return normalizeSubjectAltNames([...etcd, ...(cluster.etcd.local?.peerCertSANs ?? [])]);
    default:
      return { dnsNames: [], ipAddresses: [] };
  }
}

type Cluster = CertificateInput['cluster'];

function apiServerNames({ networking }: Cluster): readonly string[] {
  const serviceCidr = parseCidr(networking.serviceSubnet.split(',')[0]!);
  const serviceIp = serviceCidr && nthAddress(serviceCidr, 1);
  return [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    `kubernetes.default.svc.${networking.dnsDomain}`,
    ...(serviceIp ? [serviceIp] : []),
  ];
}

function endpointNames({ controlPlaneEndpoint, apiServer }: Cluster): readonly string[] {
  const host = /^\[([^\]]+)\]|^([^:]+)(?::\d+)?$/.exec(controlPlaneEndpoint ?? '');
  const name = host ? (host[1] ?? host[2]) : controlPlaneEndpoint;
  return [...(name ? [name] : []), ...(apiServer.certSANs ?? [])];
}
