/** Types of networking.v1; parse.ts has the grammar of a line. */
export const NETWORKING_TYPES = `
HTTPIngressPath
  backend! 2 IngressBackend
  path 1 string
  pathType! 3 string

HTTPIngressRuleValue
  paths! 1 [HTTPIngressPath] atomic

IPAddress kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 IPAddressSpec

IPAddressList kind
  items! 2 [IPAddress]
  metadata 1 meta.v1.ListMeta

IPAddressSpec
  parentRef! 1 ParentReference

IPBlock
  cidr! 1 string
  except 2 [string] atomic

Ingress kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 IngressSpec
  status 3 IngressStatus

IngressBackend
  resource 3 core.v1.TypedLocalObjectReference
  service 4 IngressServiceBackend

IngressClass kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 IngressClassSpec

IngressClassList kind
  items! 2 [IngressClass]
  metadata 1 meta.v1.ListMeta

IngressClassParametersReference
  apiGroup 1 string
  kind! 2 string
  name! 3 string
  namespace 5 string
  scope 4 string

IngressClassSpec
  controller 1 string
  parameters 2 IngressClassParametersReference

IngressList kind
  items! 2 [Ingress]
  metadata 1 meta.v1.ListMeta

IngressLoadBalancerIngress
  hostname 2 string
  ip 1 string
  ports 4 [IngressPortStatus] atomic

IngressLoadBalancerStatus
  ingress 1 [IngressLoadBalancerIngress] atomic

IngressPortStatus
  error 3 string
  port! 1 int32
  protocol! 2 string

IngressRule
  host 1 string
  http 2.1 HTTPIngressRuleValue

IngressServiceBackend
  name! 1 string
  port 2 ServiceBackendPort

IngressSpec
  defaultBackend 1 IngressBackend
  ingressClassName 4 string
  rules 3 [IngressRule] atomic
  tls 2 [IngressTLS] atomic

IngressStatus
  loadBalancer 1 IngressLoadBalancerStatus

IngressTLS
  hosts 1 [string] atomic
  secretName 2 string

NetworkPolicy kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 NetworkPolicySpec

NetworkPolicyEgressRule
  ports 1 [NetworkPolicyPort] atomic
  to 2 [NetworkPolicyPeer] atomic

NetworkPolicyIngressRule
  from 2 [NetworkPolicyPeer] atomic
  ports 1 [NetworkPolicyPort] atomic

NetworkPolicyList kind
  items! 2 [NetworkPolicy]
  metadata 1 meta.v1.ListMeta

NetworkPolicyPeer
  ipBlock 3 IPBlock
  namespaceSelector 2 meta.v1.LabelSelector
  podSelector 1 meta.v1.LabelSelector

NetworkPolicyPort
  endPort? 3 int32
  port 2 intOrString
  protocol 1 string

NetworkPolicySpec
  egress 3 [NetworkPolicyEgressRule] atomic
  ingress 2 [NetworkPolicyIngressRule] atomic
  podSelector 1 meta.v1.LabelSelector
  policyTypes 4 [string] atomic

ParentReference
  group 1 string
  name! 4 string
  namespace 3 string
  resource! 2 string

ServiceBackendPort atomic
  name 1 string
  number 2 int32

ServiceCIDR kind
  metadata 1 meta.v1.ObjectMeta
  spec 2 ServiceCIDRSpec
  status 3 ServiceCIDRStatus

ServiceCIDRList kind
  items! 2 [ServiceCIDR]
  metadata 1 meta.v1.ListMeta

ServiceCIDRSpec
  cidrs 1 [string] atomic

ServiceCIDRStatus
  conditions 1 [meta.v1.Condition] map:type patch=merge:type
`;
