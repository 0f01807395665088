import { generatePrime } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { encode, formatPem, integer, sequence } from './asn1.ts';

const generate = promisify(generatePrime) as unknown as (
  bits: number,
  options: { readonly bigint: true },
) => Promise<bigint>;

/**
 * Searches for primes that run at once. More than there are processors gain nothing, and one of the four threads of
 * libuv's pool must stay free: reads and writes of files wait for one too.
 */
const PARALLEL_SEARCHES = Math.min(3, availableParallelism());

const PUBLIC_EXPONENT = 65537n;
/** FIPS 186-5 appendix A.1.3: the two primes must differ in their first 100 bits. */
const MIN_DISTANCE_BITS = 100n;

/**
 * A new RSA key as PKCS#1 PEM, from two random primes of OpenSSL's generator. OpenSSL 3's own RSA generator
 * builds each prime from auxiliary primes, which takes twice as long and gives no stronger key of this size
 * (FIPS 186-5 allows both).
 */
export async function generateRsaPrivateKeyPem(
  modulusLength: number,
  searches = new PrimeSearches(),
): Promise<string> {
  const bits = modulusLength / 2;
  for (;;) {
    // Both have their two highest bits set (BN_RAND_TOP_TWO), so that the product has its full length.
    const [p, q] = await Promise.all([searches.find(bits), searches.find(bits)]);
    const [large, small] = p > q ? [p, q] : [q, p];
    if (areUsable(large, small, bits)) return encodePrivateKey(large, small);
  }
}

/** Searches for primes, a few at once: keys that are made at the same time share one. */
export class PrimeSearches {
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** A random probable prime of so many bits, of which the two highest are set. */
  async find(bits: number): Promise<bigint> {
    if (this.#running >= PARALLEL_SEARCHES) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await generate(bits, { bigint: true });
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}

/** True when p, the larger one, and q fit the exponent, each other and the length. */
function areUsable(p: bigint, q: bigint, bits: number): boolean {
  return (
    (p - q) >> (BigInt(bits) - MIN_DISTANCE_BITS) > 0n &&
    (p - 1n) % PUBLIC_EXPONENT !== 0n &&
    (q - 1n) % PUBLIC_EXPONENT !== 0n &&
    (p * q) >> BigInt(2 * bits - 1) === 1n
  );
}

/**
 * `RSAPrivateKey ::= SEQUENCE { version 0, n, e, d, p, q, d mod (p-1), d mod (q-1), q^-1 mod p }`
 * (RFC 8017 appendix A.1.2); d is the inverse of e modulo lcm(p-1, q-1).
 */
function encodePrivateKey(p: bigint, q: bigint): string {
  const order = ((p - 1n) * (q - 1n)) / greatestCommonDivisor(p - 1n, q - 1n);
  const d = invert(PUBLIC_EXPONENT, order);
  const values = [0n, p * q, PUBLIC_EXPONENT, d, p, q, d % (p - 1n), d % (q - 1n), invert(q, p)];
  return formatPem('RSA PRIVATE KEY', encode(sequence(...values.map((value) => integer(toBytes(value))))));
}

/** The inverse of `value` modulo `modulus`, by Euclid's extended algorithm. */
function invert(value: bigint, modulus: bigint): bigint {
  let [rest, next] = [modulus, value % modulus];
  let [coefficient, nextCoefficient] = [0n, 1n];
  while (next !== 0n) {
    const quotient = rest / next;
    [rest, next] = [next, rest - quotient * next];
    [coefficient, nextCoefficient] = [nextCoefficient, coefficient - quotient * nextCoefficient];
  }
  if (rest !== 1n) throw new Error('the two numbers have a common divisor');
  return coefficient < 0n ? coefficient + modulus : coefficient;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

/** Big-endian bytes of a number that is not negative, with a zero in front where the first bit is set. */
function toBytes(value: bigint): Uint8Array {
  const hex = value.toString(16);
  const even = hex.length % 2 === 0 ? hex : `0${hex}`;
  return Buffer.from(Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even, 'hex');
}
