import { execFileSync } from 'node:child_process';
import { checkPrimeSync, constants, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import t from 'tap';
import { generateRsaPrivateKeyPem, PrimeSearches } from '../../pki/rsa.ts';

for (const bits of [2048, 2048, 3072]) {
  t.test(`generateRsaPrivateKeyPem(${bits}) makes a key that openssl finds consistent`, async (t) => {
    const pem = await generateRsaPrivateKeyPem(bits);
    t.match(pem, /^-----BEGIN RSA PRIVATE KEY-----\n/);
    const report = execFileSync('openssl', ['rsa', '-check', '-noout', '-text'], {
      input: pem,
      encoding: 'utf8',
    });
    t.match(report, /RSA key ok/);
    t.match(report, new RegExp(`${bits} bit, 2 primes`));
    t.match(report, /publicExponent: 65537/);
    const key = createPrivateKey(pem);
    const data = Buffer.from('text');
    for (const padding of [constants.RSA_PKCS1_PADDING, constants.RSA_PKCS1_PSS_PADDING]) {
      const signature = sign('sha256', data, { key, padding });
      t.ok(verify('sha256', data, { key: createPublicKey(pem), padding }, signature));
    }
  });
}

t.test('PrimeSearches serves every caller, however many there are', async (t) => {
  const searches = new PrimeSearches();
  const primes = await Promise.all(Array.from({ length: 12 }, () => searches.find(512)));
  t.equal(new Set(primes).size, 12);
  for (const prime of primes)
    t.ok(checkPrimeSync(prime) && prime >> 510n === 3n, 'a prime with its two highest bits');
  // Whoever waited has made room again.
  t.ok(checkPrimeSync(await searches.find(512)));
});

t.test('two keys differ', async (t) => {
  const [a, b] = await Promise.all([generateRsaPrivateKeyPem(2048), generateRsaPrivateKeyPem(2048)]);
  t.not(a, b);
});
