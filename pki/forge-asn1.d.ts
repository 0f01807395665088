/** The ASN.1 part of node-forge alone: a tenth of the load time of the whole package. */
declare module 'node-forge/lib/asn1.js' {
  import type { asn1 } from 'node-forge';

  const module: typeof asn1;
  export = module;
}
