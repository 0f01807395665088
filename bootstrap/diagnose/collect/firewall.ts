import { readScript } from '../../../preflight/observer.ts';
import type { Host } from '../../../runtime/base/host.ts';
import type { DropRule, MachineEvidence } from '../evidence.ts';

/**
 * A line for each rule that drops or rejects: hook, chain and rule, with tabs between; "policy drop" is the end of a chain.
 * Chains of our own drop as well, and are left out.
 */
const RULES_SCRIPT = `nft list ruleset 2>/dev/null | awk '
  function tell(text) { if (table !~ /kube-proxy|tkadm/) print hook "\\t" table " " chain "\\t" text }
  /^table/ { table = $2 " " $3 }
  /^[ \\t]+chain/ { chain = $2; hook = "" }
  /^[ \\t]+type .* hook / {
    for (i = 1; i < NF; i++) if ($i == "hook") hook = $(i + 1)
    if (/policy drop/) tell("policy drop")
    next
  }
  /^[ \\t]+(drop|reject)|[ \\t](drop|reject)([ \\t]|$)/ { sub(/^[ \\t]+/, ""); tell($0) }'
iptables-legacy-save 2>/dev/null | awk '
  function tell(chain, text) { hook = tolower(chain); print (hook ~ /^(input|output|forward)$/ ? hook : "") "\\tiptables " chain "\\t" text }
  /^:[^ ]+ DROP/ { tell(substr($1, 2), "policy drop") }
  /-j (DROP|REJECT)/ { tell($2, $0) }'`;

/** Rules that drop or reject, and the tables of nftables. @throws where only root may look */
export async function collectFilters(host: Host): Promise<Pick<MachineEvidence, 'dropRules' | 'nftTables'>> {
  const [rules, tables] = await Promise.all([
    readScript(host, RULES_SCRIPT),
    host.run(['sh', '-c', 'PATH=$PATH:/usr/sbin:/sbin; exec nft list tables']),
  ]);
  if (tables.exitCode !== 0) throw new Error(tables.stderr.trim().split('\n')[0] || 'nft cannot list them');
  return {
    dropRules: [...new Set(rules.split('\n').filter(Boolean))].map(parseRule),
    nftTables: tables.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => line.replace(/^table /, '')),
  };
}

function parseRule(line: string): DropRule {
  const [hook = '', chain = '', text = ''] = line.split('\t');
  return { hook, chain, text: text.replace(/ ?counter packets \d+ bytes \d+/, '') };
}
