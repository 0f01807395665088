import { type Asn1, childrenOf, directoryString, OIDS, oid, oidOf, sequence, set, textOf } from './asn1.ts';

/** The parts of a distinguished name that Kubernetes reads: user name and groups. */
export interface DistinguishedName {
  readonly commonName: string;
  readonly organizations: readonly string[];
}

/** `Name`: organizations in one RDN, then the common name, as Go's encoder writes it (RFC 5280 §4.1.2.4). */
export function buildName({ commonName, organizations }: DistinguishedName): Asn1 {
  const attribute = (type: string, text: string) => sequence(oid(type), directoryString(text));
  const rdns = [];
  if (organizations.length > 0)
    rdns.push(set(...organizations.map((text) => attribute(OIDS.organization, text))));
  if (commonName !== '') rdns.push(set(attribute(OIDS.commonName, commonName)));
  return sequence(...rdns);
}

/** Reads the common name and the organizations of a `Name`. */
export function parseName(name: Asn1 | undefined): DistinguishedName {
  const attributes = childrenOf(name)
    .flatMap((rdn) => childrenOf(rdn))
    .map((item) => ({ type: oidOf(childrenOf(item)[0]), text: textOf(childrenOf(item)[1]) }));
  return {
    commonName: attributes.find((row) => row.type === OIDS.commonName)?.text ?? '',
    organizations: attributes.filter((row) => row.type === OIDS.organization).map((row) => row.text),
  };
}

/** "O = system:masters, CN = admin" */
export function formatName({ commonName, organizations }: DistinguishedName): string {
  return [...organizations.map((text) => `O = ${text}`), ...(commonName ? [`CN = ${commonName}`] : [])].join(
    ', ',
  );
}
