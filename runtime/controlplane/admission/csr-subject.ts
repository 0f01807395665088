const ORGANIZATION_OID = Buffer.from([0x55, 0x04, 0x0a]);
const PEM_REQUEST = /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([\s\S]+?)-----END/;

/**
 * The organizations (O) in the subject of a PEM certificate request (RFC 2986): CertificationRequest ::= SEQUENCE
 * { SEQUENCE { version, subject Name, ... }, ... }; undefined for other text.
 */
export function parseRequestOrganizations(pem: string): readonly string[] | undefined {
  const match = PEM_REQUEST.exec(pem);
  if (!match) return undefined;
  try {
    const [request] = readElements(Buffer.from(match[1]!.replaceAll(/\s/g, ''), 'base64'));
    const [info] = readElements(request!);
    const subject = readElements(info!)[1]!;
    return readElements(subject).flatMap((rdn) => readElements(rdn).flatMap(organizationOf));
  } catch {
    return undefined;
  }
}

function organizationOf(attribute: Buffer): string[] {
  const [type, value] = readElements(attribute);
  return type?.equals(ORGANIZATION_OID) ? [value!.toString('utf8')] : [];
}

/** The contents of a run of DER elements (X.690 §8.1): tag, length (short or long form), content. */
function readElements(der: Buffer): Buffer[] {
  const contents: Buffer[] = [];
  let offset = 0;
  while (offset < der.length) {
    let length = der.readUInt8(offset + 1);
    let start = offset + 2;
    if (length >= 0x80) {
      const size = length & 0x7f;
      length = der.readUIntBE(start, size);
      start += size;
    }
    if (start + length > der.length) throw new Error('truncated DER element');
    contents.push(der.subarray(start, start + length));
    offset = start + length;
  }
  return contents;
}
