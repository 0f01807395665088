import type { DropRule, MachineEvidence, ProbeOutcome } from '../evidence.ts';

/** A way that packets take from one machine to a TCP port of another, or past it to its pods. */
export interface Passage {
  readonly from: MachineEvidence | undefined;
  readonly to: MachineEvidence | undefined;
  /** Undefined: they are forwarded to pods. */
  readonly port?: number | undefined;
  /** What was tried has come to this: a refusal speaks for a rule that refuses, silence for any. */
  readonly outcome: ProbeOutcome;
}

/** What stands in the way: a rule that names the port or the other machine, or the end of a chain that accepts some. */
export interface Block {
  readonly machine: MachineEvidence;
  readonly rule: DropRule;
  readonly isPolicy: boolean;
}

/** What packets pass, both ways: requests and answers. Chains that others jump to have no hook of their own. */
const SENDER_HOOKS = ['output', 'postrouting', 'input', 'prerouting', ''];
const RECEIVER_HOOKS = ['input', 'prerouting', 'output', 'postrouting', ''];
const FORWARD_HOOKS = ['forward', ''];

/** The rule of either machine by which a passage may be blocked; those that name it come before policies. */
export function findBlock({ from, to, port, outcome }: Passage): Block | undefined {
  if (outcome === 'answered') return undefined;
  const ends = [
    { machine: from, other: to, hooks: port === undefined ? FORWARD_HOOKS : SENDER_HOOKS },
    { machine: to, other: from, hooks: port === undefined ? FORWARD_HOOKS : RECEIVER_HOOKS },
  ];
  const blocks = ends.flatMap(({ machine, other, hooks }) =>
    (machine?.dropRules ?? [])
      .filter(({ hook, text }) => hooks.includes(hook) && (outcome === 'silent' || /\breject\b/i.test(text)))
      .flatMap((rule): readonly Block[] => {
        const isPolicy = isLastWord(rule);
        const isMeant = port === undefined ? !isPolicy : namesPort(rule, port) || namesMachine(rule, other);
        // A policy of the hook that answers pass through would stop everything else as well.
        const isFirstHook = rule.hook === hooks[0];
        return isMeant || (isPolicy && isFirstHook) ? [{ machine: machine!, rule, isPolicy }] : [];
      }),
  );
  return blocks.find(({ isPolicy }) => !isPolicy) ?? blocks[0];
}

/** "rule of node1, inet fault input: tcp dport 6443 drop" */
export function formatBlock({ machine, rule }: Block): string {
  return `rule of ${machine.name}: ${rule.chain}: ${rule.text}`;
}

/** What is left of a chain when no rule has accepted. */
function isLastWord({ text }: DropRule): boolean {
  return /^(policy drop|drop|reject\b.*|-A \S+ -j (DROP|REJECT)\b.*)( comment ".*")?$/.test(text);
}

/** The port alone, or within a range: "10000-11000", "10000:11000". */
function namesPort({ text }: DropRule, port: number): boolean {
  return (
    [...text.matchAll(/(?<![\d.])(\d+)(?:[-:](\d+))?(?![\d.])/g)].some(
      ([, first, last = first]) => Number(first) <= port && port <= Number(last),
    ) && /port/.test(text)
  );
}

function namesMachine({ text }: DropRule, machine: MachineEvidence | undefined): boolean {
  const words = text.split(/[\s,{}]+/).map((word) => word.replace(/\/32$/, ''));
  // One port of that machine is not another.
  return (
    !/port/.test(text) &&
    (machine?.links ?? []).some(({ addresses }) => addresses.some((a) => words.includes(a)))
  );
}
