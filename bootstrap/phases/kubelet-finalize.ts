import { type Kubeconfig, parseKubeconfig } from '../../runtime/api/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';
import type { Phase } from '../workflow/phase.ts';
import type { InitContext } from './init-context.ts';
import { AGENT_CERTIFICATE, KUBELET_KUBECONFIG as KUBECONFIG } from './own-node.ts';

/** Points kubelet.conf at the certificate that the agent renews, once it has one. */
export const kubeletFinalizePhases: readonly Phase<InitContext>[] = [
  {
    name: 'kubelet-finalize/enable-client-cert-rotation',
    summary: "Use the agent's own certificate",
    unchanged: 'Nothing to change',
    after: ['wait-control-plane'],
    async plan({ host }) {
      const [text, certificate] = await Promise.all([
        host.readFile(KUBECONFIG),
        host.stat(AGENT_CERTIFICATE),
      ]);
      if (text === undefined || certificate === undefined) return [];
      const content = renderYaml(withCertificateFile(parseKubeconfig(text, KUBECONFIG)));
      if (renderYaml(parseKubeconfig(text, KUBECONFIG)) === content) return [];
      return [
        { kind: 'write-file', path: KUBECONFIG, mode: 0o600, content },
        { kind: 'stop-service', name: 'tkadm-agent' },
        { kind: 'start-service', name: 'tkadm-agent' },
      ];
    },
  },
];

function withCertificateFile(config: Kubeconfig): Kubeconfig {
  const users = (config.users ?? []).map((entry) => {
    const {
      'client-certificate-data': _certificate,
      'client-key-data': _key,
      ...user
    } = entry.user as Readonly<Record<string, unknown>>;
    return {
      ...entry,
      user: { ...user, 'client-certificate': AGENT_CERTIFICATE, 'client-key': AGENT_CERTIFICATE },
    };
  });
  return { ...config, users } as Kubeconfig;
}
