import type { TokenInfo } from './token.ts';

/** kubeadm's form of a token for programs (kubeadm `apis/output/v1alpha3`). */
export function buildTokenDocument({ token, description, expires, usages, groups }: TokenInfo) {
  return {
    apiVersion: 'output.kubeadm.k8s.io/v1alpha3',
    kind: 'BootstrapToken',
    token,
    ...(description ? { description } : {}),
    ...(expires ? { expires } : {}),
    ...(usages.length > 0 ? { usages } : {}),
    ...(groups.length > 0 ? { groups } : {}),
  };
}

/** The rows of kubeadm's table, with its header. */
export function formatTokenRows(tokens: readonly TokenInfo[], now: Date): readonly (readonly string[])[] {
  return [
    ['TOKEN', 'TTL', 'EXPIRES', 'USAGES', 'DESCRIPTION', 'EXTRA GROUPS'],
    ...tokens.map(({ token, expires, usages, description, groups }) => [
      token,
      formatTtl(expires, now),
      expires ?? '<never>',
      usages.join(',') || '<none>',
      description.replaceAll('\n', ' ') || '<none>',
      groups.join(',') || '<none>',
    ]),
  ];
}

/** "23h", "5m", "3d": the largest unit alone. */
function formatTtl(expires: string | undefined, now: Date): string {
  if (expires === undefined) return '<forever>';
  const seconds = Math.floor((Date.parse(expires) - now.getTime()) / 1000);
  if (Number.isNaN(seconds) || seconds < 0) return '<invalid>';
  const units = [
    [365 * 86_400, 'y'],
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'm'],
  ] as const;
  const unit = units.find(([size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[0])}${unit[1]}` : `${seconds}s`;
}
