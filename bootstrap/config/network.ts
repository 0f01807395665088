import { type Cidr, nthAddress, parseCidr } from '../../runtime/base/cidr.ts';
import { TkadmError } from '../../runtime/base/errors.ts';

/** "10.96.0.0/12,fd00::/108" → its ranges; texts that are none are left out. */
export function parseSubnets(text: string | undefined): readonly Cidr[] {
  return (text ?? '').split(',').flatMap((part) => parseCidr(part.trim()) ?? []);
}

/** The tenth address of the first service range, "10.96.0.10": the clusterIP of DNS. @throws CONFIG_INVALID */
export function dnsServiceAddress(serviceSubnet: string): string {
  return addressAt(serviceSubnet, 10);
}

function addressAt(serviceSubnet: string, index: number): string {
  const [first] = parseSubnets(serviceSubnet);
  const address = first && nthAddress(first, index);
  if (address) return address;
  throw new TkadmError(
    'CONFIG_INVALID',
    `Cannot use networking.serviceSubnet "${serviceSubnet}": it has no address number ${index}`,
  );
}

/** Host and port of "host", "host:port", "1.2.3.4:5", "[::1]:5" or "::1"; undefined for anything else. */
export function parseEndpoint(
  text: string,
): { readonly host: string; readonly port: number | undefined } | undefined {
  if (/^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(text)) return { host: text, port: undefined };
  const match = /^(?:\[([^\]]+)\]|([^:[\]/]+))(?::(\d+))?$/.exec(text);
  if (!match) return undefined;
  return { host: match[1] ?? match[2]!, port: match[3] === undefined ? undefined : Number(match[3]) };
}
