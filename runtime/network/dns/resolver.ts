import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import type { DnsConfig } from './corefile.ts';
import { forwardQuery, type Upstream } from './forward.ts';
import { type ClusterRecord, parsePodName, type RecordTable } from './records.ts';

const MAX_UDP_BYTES = 512;
const MAX_CACHE_ENTRIES = 10_000;
const NAME_ERROR = 3;
const SERVER_FAILURE = 2;

export interface ResolverOptions {
  readonly config: DnsConfig;
  readonly upstreams: readonly Upstream[];
  readonly records: () => RecordTable;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  readonly random: () => number;
  readonly onError: (message: string) => void;
}

interface CacheEntry {
  readonly answer: Buffer;
  readonly expiresAt: number;
}

/** Answers DNS messages: the cluster's zone from its records, all else from upstream through a cache. */
export class Resolver {
  readonly #options: ResolverOptions;
  readonly #cache = new Map<string, CacheEntry>();
  #serial = 1;
  readonly #counts = { local: 0, forwarded: 0, cached: 0, failed: 0 };

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** Tells that the records changed: the zone's serial rises. */
  bump(): void {
    this.#serial += 1;
  }

  /** Counters in Prometheus' text format. */
  metrics(): string {
    const lines = Object.entries(this.#counts).map(
      ([source, count]) => `coredns_dns_requests_total{source="${source}"} ${count}`,
    );
    return `# TYPE coredns_dns_requests_total counter\n${lines.join('\n')}\n# TYPE coredns_cache_entries gauge\ncoredns_cache_entries ${this.#cache.size}\n`;
  }

  /** The answer to one message; undefined for what is no query. */
  async answer(message: Buffer, isTcp: boolean): Promise<Buffer | undefined> {
    const query = tryDecode(message);
    const question = query?.questions?.[0];
    if (!query || !question || query.type !== 'query') return undefined;
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const local = this.#answerLocally(name, question.type);
    if (local) {
      this.#counts.local += 1;
      return this.#encodeLocal(query, local, isTcp);
    }
    return this.#answerFromUpstream(message, { name, type: question.type, isTcp });
  }

  #answerLocally(name: string, type: string): LocalAnswer | undefined {
    const { clusterDomain, answersPods } = this.#options.config;
    const isInZone = name === clusterDomain || name.endsWith(`.${clusterDomain}`);
    const records = this.#options.records().get(name);
    if (!isInZone) return records && name.endsWith('.arpa') ? this.#select(name, type, records) : undefined;
    const pod = answersPods ? parsePodName(name, clusterDomain) : undefined;
    if (pod) return this.#select(name, type, [{ type: 'A', address: pod }]);
    if (records) return this.#select(name, type, records);
    const isBranch =
      name === clusterDomain || name === `svc.${clusterDomain}` || name === `pod.${clusterDomain}`;
    return { isFound: isBranch, answers: [], additionals: [] };
  }

  #select(name: string, type: string, records: readonly ClusterRecord[]): LocalAnswer {
    const chosen = records.filter(
      (record) => record.type === type || record.type === 'CNAME' || type === 'ANY',
    );
    const answers = this.#shuffle(chosen.map((record) => this.#toAnswer(name, record)));
    const targets = chosen.flatMap((record) =>
      'target' in record && record.type !== 'PTR' ? [record.target] : [],
    );
    const additionals = [...new Set(targets)].flatMap((target) =>
      (this.#options.records().get(target) ?? [])
        .filter((record) => record.type === 'A' || record.type === 'AAAA')
        .map((record) => this.#toAnswer(target, record)),
    );
    const isAlias = chosen.some((record) => record.type === 'CNAME');
    const inline = isAlias ? additionals.filter((row) => row.type === type) : [];
    return { isFound: true, answers: [...answers, ...inline], additionals: isAlias ? [] : additionals };
  }

  #toAnswer(name: string, record: ClusterRecord): Answer {
    const ttl = this.#options.config.ttlSeconds;
    switch (record.type) {
      case 'A':
      case 'AAAA':
        return { name, type: record.type, ttl, data: record.address };
      case 'CNAME':
      case 'PTR':
        return { name, type: record.type, ttl, data: record.target };
      case 'TXT':
        return { name, type: 'TXT', ttl, data: record.text };
      case 'SRV':
        return {
          name,
          type: 'SRV',
          ttl,
          data: { target: record.target, port: record.port, priority: 0, weight: 100 },
        };
    }
  }

  #shuffle(answers: Answer[]): Answer[] {
    if (!this.#options.config.shuffles) return answers;
    for (let i = answers.length - 1; i > 0; i -= 1) {
      const j = Math.floor(this.#options.random() * (i + 1));
      [answers[i], answers[j]] = [answers[j]!, answers[i]!];
    }
    return answers;
  }

  #encodeLocal(query: Packet, local: LocalAnswer, isTcp: boolean): Buffer {
    const { clusterDomain, ttlSeconds } = this.#options.config;
    const flags = AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | ((query.flags ?? 0) & RECURSION_DESIRED);
    const soa: Answer = {
      name: clusterDomain,
      type: 'SOA',
      ttl: ttlSeconds,
      data: {
        mname: `ns.dns.${clusterDomain}`,
        rname: `hostmaster.${clusterDomain}`,
        serial: this.#serial,
        refresh: 7200,
        retry: 1800,
        expire: 86_400,
        minimum: ttlSeconds,
      },
    };
    const packet: Packet = {
      type: 'response',
      ...(query.id === undefined ? {} : { id: query.id }),
      flags: flags | (local.isFound ? 0 : NAME_ERROR),
      questions: query.questions ?? [],
      answers: [...local.answers],
      authorities: local.answers.length === 0 ? [soa] : [],
      additionals: [...local.additionals, ...echoOptions(query)],
    };
    const bytes = encode(packet);
    if (isTcp || bytes.length <= udpLimit(query)) return bytes;
    return encode({
      ...packet,
      flags: (packet.flags ?? 0) | TRUNCATED_RESPONSE,
      answers: [],
      additionals: echoOptions(query),
    });
  }

  async #answerFromUpstream(
    message: Buffer,
    question: { name: string; type: string; isTcp: boolean },
  ): Promise<Buffer> {
    const { now, upstreams, config, onError } = this.#options;
    const key = `${question.name}/${question.type}/${question.isTcp}/${message.length}`;
    const cached = this.#cache.get(key);
    if (cached && cached.expiresAt > now()) {
      this.#counts.cached += 1;
      return withId(cached.answer, message);
    }
    try {
      const answer = await forwardQuery(message, upstreams, question.isTcp);
      this.#counts.forwarded += 1;
      const seconds = Math.min(config.cacheSeconds, lifetimeOf(answer));
      if (seconds > 0) {
        if (this.#cache.size >= MAX_CACHE_ENTRIES) this.#cache.clear();
        this.#cache.set(key, { answer, expiresAt: now() + seconds * 1000 });
      }
      return answer;
    } catch (error) {
      this.#counts.failed += 1;
      if (config.logsErrors) onError(`${question.name} ${question.type}: ${(error as Error).message}`);
      const query = decode(message);
      return encode({
        type: 'response',
        ...(query.id === undefined ? {} : { id: query.id }),
        flags: RECURSION_AVAILABLE | ((query.flags ?? 0) & RECURSION_DESIRED) | SERVER_FAILURE,
        questions: query.questions ?? [],
      });
    }
  }
}

interface LocalAnswer {
  readonly isFound: boolean;
  readonly answers: readonly Answer[];
  readonly additionals: readonly Answer[];
}

function tryDecode(message: Buffer): Packet | undefined {
  try {
    return decode(message);
  } catch {
    return undefined;
  }
}

/** RFC 6891: an OPT record in the query is answered with one. */
function echoOptions(query: Packet): Answer[] {
  const option = query.additionals?.find((row) => row.type === 'OPT');
  if (!option) return [];
  return [
    {
      type: 'OPT',
      name: '.',
      udpPayloadSize: 1232,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    } as never,
  ];
}

function udpLimit(query: Packet): number {
  const option = query.additionals?.find((row) => row.type === 'OPT') as
    | { udpPayloadSize?: number }
    | undefined;
  return Math.max(MAX_UDP_BYTES, Math.min(option?.udpPayloadSize ?? MAX_UDP_BYTES, 1232));
}

function withId(answer: Buffer, query: Buffer): Buffer {
  const copy = Buffer.from(answer);
  query.copy(copy, 0, 0, 2);
  return copy;
}

/** Seconds that an answer may be kept: the least ttl; an error or a cut answer is not kept. */
function lifetimeOf(answer: Buffer): number {
  const packet = tryDecode(answer) as (Packet & { rcode?: string }) | undefined;
  if (!packet || (packet.flags ?? 0) & TRUNCATED_RESPONSE) return 0;
  if (packet.rcode !== 'NOERROR' && packet.rcode !== 'NXDOMAIN') return 0;
  const ttls = [...(packet.answers ?? []), ...(packet.authorities ?? [])].flatMap((row) =>
    'ttl' in row && typeof row.ttl === 'number' ? [row.ttl] : [],
  );
  return ttls.length === 0 ? 0 : Math.min(...ttls);
}
