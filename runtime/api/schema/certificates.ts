/** Types of certificates.v1; parse.ts has the grammar of a line. */
export const CERTIFICATES_TYPES = `
CertificateSigningRequest kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 CertificateSigningRequestSpec
  status 3 CertificateSigningRequestStatus

CertificateSigningRequestCondition
  lastTransitionTime 5 time
  lastUpdateTime 4 time
  message 3 string
  reason 2 string
  status! 6 string
  type! 1 string

CertificateSigningRequestList kind
  items! 2 [CertificateSigningRequest]
  metadata 1 meta.v1.ListMeta

CertificateSigningRequestSpec
  expirationSeconds? 8 int32
  extra 6 {[string]}
  groups 4 [string] atomic
  request! 1 bytes
  signerName! 7 string
  uid 3 string
  usages 5 [string] atomic
  username 2 string

CertificateSigningRequestStatus
  certificate 2 bytes
  conditions 1 [CertificateSigningRequestCondition] map:type
`;
