import { TkadmError } from '../../../runtime/base/errors.ts';
import type { PortBinding } from '../../../runtime/ctr/ctr-record.ts';

const USAGE = '[ADDRESS:][HOST-PORT:]CONTAINER-PORT[/tcp|udp], ports also as ranges 8000-8010';

/** `--publish`: "4000:80", "127.0.0.1:4000:80/udp", "80", "8000-8001:80-81", "8000-8010:80" for one of them. @throws USAGE, UNSUPPORTED */
export function parsePublish(text: string): readonly PortBinding[] {
  const invalid = (state: string) =>
    new TkadmError('USAGE', `Cannot publish "${text}": ${state}`, { hint: `--publish ${USAGE}` });
  const match = /^(?:(.*):)?([\d-]*):([\d-]+)(?:\/(\w+))?$|^([\d-]+)(?:\/(\w+))?$/.exec(text);
  if (match === null) throw invalid('it is no port');
  const [, hostIp = '', hostText = '', pair, pairProtocol, single, singleProtocol] = match;
  const protocol = readProtocol(text, pairProtocol ?? singleProtocol);
  if (hostIp.includes(':') || hostIp.startsWith('[')) {
    throw new TkadmError('UNSUPPORTED', `Cannot publish "${text}": only IPv4 is supported`);
  }
  if (hostIp !== '' && !/^\d+\.\d+\.\d+\.\d+$/.test(hostIp)) throw invalid(`"${hostIp}" is no address`);
  const container = parseRange(pair ?? single ?? '');
  const host = hostText === '' ? undefined : parseRange(hostText);
  if (container === undefined || (hostText !== '' && host === undefined))
    throw invalid('a port is not of 1-65535');
  const address = hostIp === '0.0.0.0' ? '' : hostIp;
  if (host !== undefined && host.length > 1 && container.length === 1) {
    const [range, containerPort] = [{ hostPort: host[0]!, lastHostPort: host.at(-1)! }, container[0]!];
    return [{ containerPort, protocol, hostIp: address, ...range }];
  }
  if (host !== undefined && host.length !== container.length)
    throw invalid('the ranges have different lengths');
  return container.map((containerPort, index) => ({
    containerPort,
    protocol,
    hostIp: address,
    hostPort: host?.[index] ?? 0,
  }));
}

/** `--expose`: "80", "80/udp", "8000-8002": "80/tcp", ... @throws USAGE */
export function parseExpose(text: string): readonly string[] {
  const [ports = '', protocol] = text.split('/');
  const range = parseRange(ports);
  if (range === undefined) throw new TkadmError('USAGE', `Cannot expose "${text}": it is no port`);
  return range.map((port) => `${port}/${readProtocol(text, protocol)}`);
}

function readProtocol(text: string, name = 'tcp'): 'tcp' | 'udp' {
  if (name === 'tcp' || name === 'udp') return name;
  throw new TkadmError('UNSUPPORTED', `Cannot open port "${text}": protocol "${name}" is not supported`);
}

function parseRange(text: string): readonly number[] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (first < 1 || last > 65535 || last < first) return undefined;
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** "0.0.0.0:4000->80/tcp", as `ps` shows a published port. */
export function formatBinding({ hostIp, hostPort, containerPort, protocol }: PortBinding): string {
  return `${hostIp || '0.0.0.0'}:${hostPort}->${containerPort}/${protocol}`;
}
