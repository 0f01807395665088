import t from 'tap';
import type { JsonObject } from '../../../runtime/api/schema/types.ts';
import { validateEphemeralUpdate } from '../../../runtime/api/validation/ephemeral.ts';
import { formatFieldError } from '../../../runtime/api/validation/field-error.ts';

const LOOK = { name: 'look', image: 'busybox:1' };
const pod = (...ephemeralContainers: JsonObject[]): JsonObject => ({
  metadata: {},
  spec: { ephemeralContainers },
});
const STATIC = { metadata: { annotations: { 'kubernetes.io/config.mirror': 'x' } }, spec: {} };

const CASES: readonly (readonly [string, JsonObject, JsonObject, RegExp | undefined])[] = [
  ['the first one', { spec: {} }, pod(LOOK), undefined],
  ['a second one', pod(LOOK), pod(LOOK, { ...LOOK, name: 'other' }), undefined],
  ['another order', pod(LOOK, { ...LOOK, name: 'other' }), pod({ ...LOOK, name: 'other' }, LOOK), undefined],
  ['one taken away', pod(LOOK), pod(), /"look" may not be removed/],
  ['one changed', pod(LOOK), pod({ ...LOOK, image: 'busybox:2' }), /"look" may not be changed/],
  ['a static pod', STATIC, pod(LOOK), /static pods do not support/],
];

t.test('validateEphemeralUpdate() lets containers be added and nothing else', (t) => {
  for (const [title, old, object, expected] of CASES) {
    const found = [...validateEphemeralUpdate(object, old)].map(formatFieldError);
    if (expected) t.match(found, [expected], title);
    else t.strictSame(found, [], title);
  }
  t.end();
});
