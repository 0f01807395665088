/** Types of apiextensions.v1; parse.ts has the grammar of a line. */
export const APIEXTENSIONS_TYPES = `
CustomResourceColumnDefinition
  description 4 string
  format 3 string
  jsonPath! 6 string
  name! 1 string
  priority 5 int32
  type! 2 string

CustomResourceConversion
  strategy! 1 string
  webhook 2 WebhookConversion

CustomResourceDefinition kind
  metadata 1 meta.v1.ObjectMeta
  spec! 2 CustomResourceDefinitionSpec
  status 3 CustomResourceDefinitionStatus

CustomResourceDefinitionCondition
  lastTransitionTime 3 time
  message 5 string
  observedGeneration - int64
  reason 4 string
  status! 2 string
  type! 1 string

CustomResourceDefinitionList kind
  items! 2 [CustomResourceDefinition]
  metadata 1 meta.v1.ListMeta

CustomResourceDefinitionNames
  categories 6 [string] atomic
  kind! 4 string
  listKind 5 string
  plural! 1 string
  shortNames 3 [string] atomic
  singular 2 string

CustomResourceDefinitionSpec
  conversion 9 CustomResourceConversion
  group! 1 string
  names! 3 CustomResourceDefinitionNames
  preserveUnknownFields 10 bool
  scope! 4 string
  versions! 7 [CustomResourceDefinitionVersion] atomic

CustomResourceDefinitionStatus
  acceptedNames 2 CustomResourceDefinitionNames
  conditions 1 [CustomResourceDefinitionCondition] map:type
  observedGeneration - int64
  storedVersions 3 [string] atomic

CustomResourceDefinitionVersion
  additionalPrinterColumns 6 [CustomResourceColumnDefinition] atomic
  deprecated 7 bool
  deprecationWarning 8 string
  name! 1 string
  schema 4 CustomResourceValidation
  selectableFields 9 [SelectableField] atomic
  served! 2 bool
  storage! 3 bool
  subresources 5 CustomResourceSubresources

CustomResourceSubresourceScale
  labelSelectorPath 3 string
  specReplicasPath! 1 string
  statusReplicasPath! 2 string

CustomResourceSubresourceStatus

CustomResourceSubresources
  scale 2 CustomResourceSubresourceScale
  status 1 CustomResourceSubresourceStatus

CustomResourceValidation
  openAPIV3Schema 1 JSONSchemaProps

ExternalDocumentation
  description 1 string
  url 2 string

JSONSchemaProps
  $ref 3 string
  $schema 2 string
  additionalItems 33 JSONSchemaPropsOrBool
  additionalProperties 30 JSONSchemaPropsOrBool
  allOf 25 [JSONSchemaProps] atomic
  anyOf 27 [JSONSchemaProps] atomic
  default 8 json
  definitions 34 {JSONSchemaProps}
  dependencies 32 {JSONSchemaPropsOrStringArray}
  description 4 string
  enum 20 [json] atomic
  example 36 json
  exclusiveMaximum 10 bool
  exclusiveMinimum 12 bool
  externalDocs 35 ExternalDocumentation
  format 6 string
  id 1 string
  items 24 JSONSchemaPropsOrArray
  maxItems? 16 int64
  maxLength? 13 int64
  maxProperties? 21 int64
  maximum? 9 double
  minItems? 17 int64
  minLength? 14 int64
  minProperties? 22 int64
  minimum? 11 double
  multipleOf? 19 double
  not 28 JSONSchemaProps
  nullable 37 bool
  oneOf 26 [JSONSchemaProps] atomic
  pattern 15 string
  patternProperties 31 {JSONSchemaProps}
  properties 29 {JSONSchemaProps}
  required 23 [string] atomic
  title 7 string
  type 5 string
  uniqueItems 18 bool
  x-kubernetes-embedded-resource 39 bool
  x-kubernetes-int-or-string 40 bool
  x-kubernetes-list-map-keys 41 [string] atomic
  x-kubernetes-list-type 42 string
  x-kubernetes-map-type 43 string
  x-kubernetes-preserve-unknown-fields? 38 bool
  x-kubernetes-validations 44 [ValidationRule] map:rule patch=merge:rule

JSONSchemaPropsOrArray orArray

JSONSchemaPropsOrBool orBool

JSONSchemaPropsOrStringArray orStringArray

SelectableField
  jsonPath! 1 string

ServiceReference
  name! 2 string
  namespace! 1 string
  path 3 string
  port? 4 int32

ValidationRule
  fieldPath 5 string
  message 2 string
  messageExpression 3 string
  optionalOldSelf? 6 bool
  reason 4 string
  rule! 1 string

WebhookClientConfig
  caBundle 2 bytes
  service 1 ServiceReference
  url 3 string

WebhookConversion
  clientConfig 2 WebhookClientConfig
  conversionReviewVersions! 3 [string] atomic
`;
