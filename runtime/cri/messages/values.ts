import { enumeration, message } from '../../base/protobuf.ts';

// CRI v1: wrappers and enums that several subjects share.

export const Int64Value = message({ value: [1, 'int64'] });
export const UInt64Value = message({ value: [1, 'uint64'] });
export const KeyValue = message({ key: [1, 'string'], value: [2, 'string'] });
export const SupplementalGroupsPolicy = enumeration('Merge', 'Strict');
