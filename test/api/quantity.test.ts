import t from 'tap';
import {
  canonicalQuantity,
  compareQuantity,
  isQuantity,
  parseQuantity,
  quantityToInteger,
  quantityToMilli,
  quantityToNumber,
} from '../../runtime/api/quantity.ts';

const CANONICAL = [
  ['0.5', '500m'],
  ['1.5Gi', '1536Mi'],
  ['1024Ki', '1Mi'],
  ['1000m', '1'],
  ['1500m', '1500m'],
  ['1e3', '1e3'],
  ['12000', '12k'],
  ['1024', '1024'],
  ['0', '0'],
  ['-2000', '-2k'],
  ['100n', '100n'],
  ['1Ki', '1Ki'],
  ['128974848', '128974848'],
  ['8Ei', '8Ei'],
  ['5M', '5M'],
] as const;

t.test('canonicalQuantity() spells values as the API stores them', (t) => {
  for (const [text, expected] of CANONICAL) t.equal(canonicalQuantity(text), expected, text);
  t.end();
});

t.test('isQuantity() refuses other text', (t) => {
  for (const text of ['', 'abc', '1 Gi', '1gi', '1Kib', '--1', '.', '1.2.3']) t.notOk(isQuantity(text), text);
  for (const text of ['1', '.5', '1.', '+1', 3]) t.ok(isQuantity(text), String(text));
  t.throws(() => parseQuantity('x'));
  t.end();
});

t.test('quantities compute exactly', (t) => {
  t.equal(parseQuantity('100m'), 100_000_000n);
  t.equal(parseQuantity('1Ei'), (1n << 60n) * 1_000_000_000n);
  t.equal(compareQuantity('1Gi', '1G'), 1);
  t.equal(compareQuantity('1000m', 1), 0);
  t.equal(compareQuantity('1', '2'), -1);
  t.equal(quantityToNumber('100m'), 0.1);
  t.equal(quantityToNumber('1Gi'), 1_073_741_824);
  t.equal(quantityToMilli('0.1'), 100);
  t.equal(quantityToMilli('1n'), 1);
  t.equal(quantityToInteger('1500m'), 2);
  t.equal(quantityToInteger('12E'), 12e18);
  t.equal(quantityToInteger(undefined), 0);
  t.end();
});
