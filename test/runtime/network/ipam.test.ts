import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findAddresses, gatewayOf, releaseAddresses, reserveAddress } from '../../../runtime/network/ipam.ts';

const owner = (index: number) => ({ containerId: `c${index}`, interfaceName: 'eth0' });

t.test('gatewayOf() is the first usable address', async (t) => {
  t.equal(gatewayOf('10.244.1.0/24'), '10.244.1.1');
  t.equal(gatewayOf('10.244.1.77/24'), '10.244.1.1', 'host bits are cleared');
  t.throws(() => gatewayOf('fd00::/64'), { code: 'NETWORK_CONFIG', message: /"fd00::\/64"/ });
});

t.test('reserveAddress() gives parallel callers different addresses until the network is full', async (t) => {
  const directory = join(t.testdir(), 'net');
  const all = await Promise.all(
    Array.from({ length: 29 }, (_, index) => reserveAddress(directory, '10.9.0.0/27', owner(index))),
  );
  t.equal(new Set(all).size, 29);
  for (const reserved of ['10.9.0.0', '10.9.0.1', '10.9.0.31']) t.notOk(all.includes(reserved), reserved);
  await t.rejects(reserveAddress(directory, '10.9.0.0/27', owner(29)), { code: 'NETWORK_FULL' });
  t.same(await findAddresses(directory, owner(29)), [], 'a refused caller holds nothing');
  await releaseAddresses(directory, owner(7));
  t.equal(await reserveAddress(directory, '10.9.0.0/27', owner(30)), all[7], 'the one that was freed');
  for (let index = 0; index < 31; index += 1) await releaseAddresses(directory, owner(index));
  t.same(
    readdirSync(directory).filter((name) => name !== '.last'),
    [],
    'nothing stays',
  );
});

t.test('reserveAddress() goes round the network before it uses a freed address again', async (t) => {
  const directory = join(t.testdir(), 'net');
  const reserve = (index: number) => reserveAddress(directory, '10.9.0.0/29', owner(index));
  t.same([await reserve(1), await reserve(2)], ['10.9.0.2', '10.9.0.3']);
  await releaseAddresses(directory, owner(1));
  t.same(
    [await reserve(3), await reserve(4), await reserve(5), await reserve(6)],
    ['10.9.0.4', '10.9.0.5', '10.9.0.6', '10.9.0.2'],
  );
  t.equal(await reserve(4), '10.9.0.5', 'who holds one gets it again');
  t.same(await releaseAddresses(directory, owner(4)), ['10.9.0.5']);
  t.same(await releaseAddresses(directory, owner(4)), [], 'a second time there is nothing to free');
});
