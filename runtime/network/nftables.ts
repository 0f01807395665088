import { attribute, NETLINK, NetlinkError, NLM_F, openNetlink, parseAttributes } from './netlink.ts';

/** NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, <linux/netfilter/nf_tables.h>. */
const GET_RULE = (10 << 8) | 7;
const RULE = { table: 1, userData: 7 } as const;
const NFPROTO_IPV4 = 2;
const HEADER_BYTES = 4;

/** How many rules of the IPv4 table have this comment; 0 when there is no such table. @throws NETWORK_COMMAND */
export function countRules(table: string, comment: string): number {
  const netfilter = openNetlink(NETLINK.netfilter);
  try {
    // nfgenmsg { u8 family, u8 version, u16 id }
    const body = Buffer.concat([Buffer.from([NFPROTO_IPV4, 0, 0, 0]), attribute(RULE.table, table)]);
    const step = `list table "${table}"`;
    const rules = netfilter.ask({ type: GET_RULE, flags: NLM_F.dump, body, step });
    return rules.filter((rule) => {
      const data = parseAttributes(rule.subarray(HEADER_BYTES)).get(RULE.userData)?.value;
      return data?.includes(comment) ?? false;
    }).length;
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === 'ENOENT') return 0;
    throw error;
  } finally {
    netfilter.close();
  }
}
