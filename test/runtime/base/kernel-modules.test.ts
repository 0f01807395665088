import t from 'tap';
import { findMissingModules, KERNEL_MODULES } from '../../../runtime/base/kernel-modules.ts';

t.test('what /proc/modules does not name is missing', async (t) => {
  const loaded = `veth 40960 0 - Live 0x0000000000000000
br_netfilter 32768 0 - Live 0x0000000000000000
nf_tables 352256 84 nft_ct,nft_masq, Live 0x0000000000000000
`;
  const missing = findMissingModules(loaded);
  t.notOk(missing.includes('veth'));
  t.notOk(missing.includes('nf_tables'));
  t.ok(missing.includes('bridge'), 'which br_netfilter is not');
  t.ok(missing.includes('nft_masq'), 'which only uses another');
  t.equal(missing.length, Object.values(KERNEL_MODULES).flat().length - 2);
});
