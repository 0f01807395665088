import { CERTIFICATES, type CertificateRow } from '../../pki/certificates.ts';
import { type PkiFile, readCa } from '../../pki/plan.ts';
import { planRenewal } from '../../pki/renew.ts';
import { isTkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { planKubeconfigRenewal } from '../../templates/kubeconfig-renewal.ts';
import type { PatchTarget } from '../../templates/patches.ts';
import { type InitContext, pkiContext } from '../phases/init-context.ts';
import { type Action, writeTogether } from '../workflow/action.ts';

interface Renewed {
  readonly certificates: readonly string[];
  /** Kubeconfigs that embed a client certificate. */
  readonly kubeconfigs: readonly string[];
}

const NONE: Renewed = { certificates: [], kubeconfigs: [] };

/** What is renewed when a component is upgraded, as kubeadm has it. */
const RENEWED_WITH: Readonly<Partial<Record<PatchTarget, Renewed>>> = {
  etcd: { certificates: ['etcd-server', 'etcd-peer', 'etcd-healthcheck-client'], kubeconfigs: [] },
  'kube-apiserver': {
    certificates: ['apiserver', 'apiserver-kubelet-client', 'front-proxy-client', 'apiserver-etcd-client'],
    kubeconfigs: [],
  },
  'kube-controller-manager': { certificates: [], kubeconfigs: ['controller-manager.conf'] },
  'kube-scheduler': { certificates: [], kubeconfigs: ['scheduler.conf'] },
};

/** The administrators' kubeconfigs, renewed once the components are. */
export const ADMIN_KUBECONFIGS: Renewed = {
  certificates: [],
  kubeconfigs: ['admin.conf', 'super-admin.conf'],
};

type RenewalContext = Pick<InitContext, 'config' | 'host' | 'now' | 'warn'>;

/** New files for what a component uses; what its CA has issued elsewhere stays, with a warning. */
export function planComponentRenewal(
  component: PatchTarget,
  context: RenewalContext,
): Promise<readonly Action[]> {
  return planRenewals(RENEWED_WITH[component] ?? NONE, context);
}

/** Key and certificate of each together. */
export async function planRenewals(renewed: Renewed, context: RenewalContext): Promise<readonly Action[]> {
  const pki = { ...pkiContext(context), input: undefined };
  const actions: Action[] = [];
  const add = async (name: string, plan: () => Promise<readonly PkiFile[]>) => {
    try {
      actions.push(...writeTogether(await plan()));
    } catch (error) {
      if (!isTkadmError(error, 'PKI_KEY_MISSING')) throw error;
      context.warn(`${name} is not renewed: the key of its CA is not on this machine`);
    }
  };
  for (const row of CERTIFICATES as readonly CertificateRow[]) {
    if (renewed.certificates.includes(row.name)) await add(row.name, () => planRenewal(row, pki));
  }
  for (const name of renewed.kubeconfigs) {
    const path = `${PATHS.kubernetes}/${name}`;
    const text = await context.host.readFile(path);
    if (text === undefined) continue;
    await add(name, async () => [
      await planKubeconfigRenewal(path, text, { ...pki, ca: await readCa('ca', pki) }),
    ]);
  }
  return actions;
}
