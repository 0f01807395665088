import { cidrContains, formatUrlHost, parseCidr, parseIp } from '../../runtime/base/cidr.ts';
import {
  type Check,
  clusterCidrs,
  type Finding,
  NODES,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';

/** A proxy must not stand between the machine and the cluster's own addresses. */
export const PROXY_CHECKS: readonly Check[] = [
  {
    name: 'HTTPProxy',
    scopes: NODES,
    severity: 'warning',
    looksAt: 'HTTPS_PROXY and NO_PROXY of the installer, for the API server',
    observe: async (_host, input) => {
      const target = apiServerHost(input);
      if (target === undefined || proxyOf(input) === undefined) return undefined;
      if (!isProxied(target, input)) return [];
      return [report('HTTPProxy', `requests to https://${formatUrlHost(target)}`, target, input)];
    },
  },
  {
    name: 'HTTPProxyCIDR',
    scopes: ['init'],
    severity: 'warning',
    looksAt: 'HTTPS_PROXY and NO_PROXY of the installer, for each pod and Service range',
    observe: async (_host, input) =>
      proxyOf(input) === undefined
        ? undefined
        : clusterCidrs(input)
            .filter((cidr) => isProxied(cidr.split('/')[0]!, input))
            .map((cidr) => report('HTTPProxyCIDR', `requests to the range ${cidr}`, cidr, input)),
  },
];

function apiServerHost({ scope, apiServer, advertiseAddress }: PreflightInput): string | undefined {
  if (scope === 'init') return advertiseAddress;
  return /^\[?(.*?)\]?(:\d+)?$/.exec(apiServer ?? '')?.[1] || advertiseAddress;
}

function proxyOf({ env = {} }: PreflightInput): string | undefined {
  return env['HTTPS_PROXY'] || env['https_proxy'] || undefined;
}

function exceptionsOf({ env = {} }: PreflightInput): readonly string[] {
  const text = env['NO_PROXY'] || env['no_proxy'] || '';
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}

function report(check: string, what: string, target: string, input: PreflightInput): Finding {
  const name = input.env?.['HTTPS_PROXY'] ? 'HTTPS_PROXY' : 'https_proxy';
  const exceptions = exceptionsOf(input);
  const missing = clusterCidrs(input).filter((cidr) => isProxied(cidr.split('/')[0]!, input));
  const list = [...new Set([...exceptions, target, ...missing])].join(',');
  return warningFinding(
    check,
    `${what} go through a proxy`,
    `${name} is set, and NO_PROXY ${exceptions.length === 0 ? 'is empty' : `(${exceptions.join(',')}) does not name it`}`,
    `export NO_PROXY=${list} no_proxy=${list}`,
  );
}

/** As Go's http.ProxyFromEnvironment decides: loopback never, then the exceptions of NO_PROXY. */
function isProxied(host: string, input: PreflightInput): boolean {
  if (proxyOf(input) === undefined || host === 'localhost' || /^127\.|^::1$/.test(host)) return false;
  const ip = parseIp(host);
  return !exceptionsOf(input).some((entry) => {
    const text = entry.replace(/:\d+$/, (port) => (parseIp(entry) ? port : ''));
    if (text === '*' || text === host) return true;
    const cidr = parseCidr(text);
    if (cidr && ip) return cidrContains(cidr, ip);
    if (ip) return false;
    const domain = text.replace(/^\*?\.?/, '').toLowerCase();
    return (
      host.toLowerCase().endsWith(`.${domain}`) || (!text.startsWith('.') && host.toLowerCase() === domain)
    );
  });
}
