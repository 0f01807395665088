import type { Checker } from './problems.ts';
import {
  checkAbsolutePath,
  checkArgs,
  checkCertSans,
  checkEnvs,
  checkImageTag,
  checkRepository,
} from './rules.ts';
import type { ClusterConfiguration, ExternalEtcd, LocalEtcd, TkadmConfiguration } from './types.ts';

/** Checks that etcd is either local or external, and its fields. */
export function validateEtcd(
  { local, external }: ClusterConfiguration['etcd'],
  tkadm: TkadmConfiguration,
  check: Checker,
): void {
  if (local && external) check.invalid('etcd', undefined, '"local" and "external" exclude each other');
  if (local) validateLocalEtcd(local, check);
  if (!external) return;
  if (tkadm.store === 'embedded') {
    check.forbidden('etcd.external', 'the embedded store is in use; "store: etcd" uses it');
  }
  validateExternalEtcd(external, check);
}

function validateLocalEtcd(local: LocalEtcd, check: Checker): void {
  checkAbsolutePath(check, 'etcd.local.dataDir', local.dataDir);
  checkArgs(check, 'etcd.local.extraArgs', local.extraArgs);
  checkEnvs(check, 'etcd.local.extraEnvs', local.extraEnvs);
  checkCertSans(check, 'etcd.local.serverCertSANs', local.serverCertSANs);
  checkCertSans(check, 'etcd.local.peerCertSANs', local.peerCertSANs);
  if (local.imageRepository) checkRepository(check, 'etcd.local.imageRepository', local.imageRepository);
  if (local.imageTag) checkImageTag(check, 'etcd.local.imageTag', local.imageTag);
}

function validateExternalEtcd(external: ExternalEtcd, check: Checker): void {
  const path = 'etcd.external';
  const { endpoints, httpEndpoints = [], caFile, certFile, keyFile } = external;
  const hasCertificates = certFile !== '' || keyFile !== '' || caFile !== '';
  if (endpoints.length === 0) check.required(`${path}.endpoints`, 'at least one endpoint');
  for (const [i, endpoint] of endpoints.entries()) {
    checkUrl(check, `${path}.endpoints[${i}]`, endpoint, hasCertificates);
  }
  for (const [i, endpoint] of httpEndpoints.entries()) {
    checkUrl(check, `${path}.httpEndpoints[${i}]`, endpoint, false);
  }
  if ((certFile === '') !== (keyFile === '')) {
    const missing = certFile === '' ? 'certFile' : 'keyFile';
    check.invalid(`${path}.${missing}`, '', 'certFile and keyFile come together');
  }
  for (const [name, file] of Object.entries({ caFile, certFile, keyFile })) {
    if (file !== '') checkAbsolutePath(check, `${path}.${name}`, file);
  }
}

function checkUrl(check: Checker, path: string, text: string, needsTls: boolean): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
  if (!url || !isHttp || url.host === '') {
    check.invalid(path, text, 'write it like "https://10.0.0.1:2379"');
  } else if (needsTls && url.protocol !== 'https:') {
    check.invalid(path, text, 'with certificates it must be an https URL');
  }
}
