/**
 * Keywords of ssh_config(5). `single`: the first value that is found wins. `list`: each line adds one.
 * `none`: nothing that a command without a terminal or a tunnel of its own does depends on it.
 * `refused`: a connection would be made in another way than the user has asked for.
 */
type KeywordUse = 'single' | 'list' | 'none' | 'refused';

const USED = {
  connecttimeout: 'single',
  globalknownhostsfile: 'single',
  hostkeyalias: 'single',
  hostname: 'single',
  identitiesonly: 'single',
  identityagent: 'single',
  identityfile: 'list',
  kbdinteractiveauthentication: 'single',
  passwordauthentication: 'single',
  port: 'single',
  proxycommand: 'single',
  proxyjump: 'single',
  pubkeyauthentication: 'single',
  serveralivecountmax: 'single',
  serveraliveinterval: 'single',
  stricthostkeychecking: 'single',
  user: 'single',
  userknownhostsfile: 'single',
} as const satisfies Readonly<Record<string, KeywordUse>>;

/** A keyword that a connection depends on, in lower case. */
export type SshKeyword = keyof typeof USED;

const REFUSED = [
  'addressfamily',
  'bindaddress',
  'bindinterface',
  'canonicalizehostname',
  'certificatefile',
  'knownhostscommand',
  'pkcs11provider',
  'proxyusefdpass',
  'securitykeyprovider',
  'verifyhostkeydns',
] as const;

/** Values with which a refused keyword asks for nothing special. */
const HARMLESS_VALUES: ReadonlySet<string> = new Set(['no', 'none', 'any', 'internal']);

/** Other names of a keyword. */
const ALIASES: Readonly<Record<string, SshKeyword>> = {
  challengeresponseauthentication: 'kbdinteractiveauthentication',
  dsaauthentication: 'pubkeyauthentication',
  globalknownhostsfile2: 'globalknownhostsfile',
  identityfile2: 'identityfile',
  skeyauthentication: 'kbdinteractiveauthentication',
  tisauthentication: 'kbdinteractiveauthentication',
  userknownhostsfile2: 'userknownhostsfile',
};

/** What becomes of a line with this keyword and value. */
export function judgeKeyword(
  name: string,
  value: string,
): { readonly keyword: SshKeyword; readonly isList: boolean } | 'ignored' | 'refused' {
  const lower = name.toLowerCase();
  const keyword = ALIASES[lower] ?? lower;
  if (keyword in USED) {
    return { keyword: keyword as SshKeyword, isList: USED[keyword as SshKeyword] === 'list' };
  }
  const isRefused = (REFUSED as readonly string[]).includes(keyword);
  return isRefused && !HARMLESS_VALUES.has(value.toLowerCase()) ? 'refused' : 'ignored';
}
