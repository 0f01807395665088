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
import { echoOptions, lifetimeOf, normalizeQuery, tryDecode, udpLimit, withQuestion } from './message.ts';
import { type ClusterRecord, parsePodName, type RecordTable } from './records.ts';

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
  readonly storedAt: number;
}

/** Answers DNS messages: the cluster's zone from its records, all else from upstream through a cache. */
export class Resolver {
  #options: ResolverOptions;
  readonly #cache = new Map<string, CacheEntry>();
  #serial = 1;
  readonly #counts = { local: 0, forwarded: 0, cached: 0, failed: 0 };

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** Goes on with another configuration; what is kept from upstream is dropped. */
  configure(config: DnsConfig, upstreams: readonly Upstream[]): void {
    this.#options = { ...this.#options, config, upstreams };
    this.#cache.clear();
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
      return this.#encodeLocal(query, await this.#followAlias(local, question.type), isTcp);
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

  /** A stub resolver does not follow an alias out of the cluster: the server adds what upstream says. */
  async #followAlias(local: LocalAnswer, type: string): Promise<LocalAnswer> {
    const [alias, ...more] = local.answers;
    if (alias?.type !== 'CNAME' || more.length > 0 || type === 'CNAME') return local;
    const { clusterDomain } = this.#options.config;
    if (alias.data.endsWith(`.${clusterDomain}`)) return local;
    const query = encode({
      type: 'query',
      flags: RECURSION_DESIRED,
      questions: [{ name: alias.data, type: type as 'A' }],
    });
    const answer = tryDecode(await this.#answerFromUpstream(query, { name: alias.data, type, isTcp: false }));
    return { ...local, answers: [alias, ...(answer?.answers ?? [])] };
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
    // Names are answered in the letters of the question (0x20).
    const asked = query.questions?.[0]?.name ?? '';
    const inCase = local.answers.map((row) =>
      row.name === asked.toLowerCase() ? { ...row, name: asked } : row,
    );
    const packet: Packet = {
      type: 'response',
      ...(query.id === undefined ? {} : { id: query.id }),
      flags: flags | (local.isFound ? 0 : NAME_ERROR),
      questions: query.questions ?? [],
      answers: inCase,
      authorities: local.answers.length === 0 ? [soa] : [],
      additionals: [...local.additionals, ...echoOptions(query)],
    };
    const bytes = encode(packet);
    if (isTcp || bytes.length <= udpLimit(query)) return bytes;
    // Whole records that fit: a client without TCP can use them (RFC 2181 §9).
    const answers = [...inCase];
    const cut = () =>
      encode({
        ...packet,
        flags: (packet.flags ?? 0) | TRUNCATED_RESPONSE,
        answers,
        additionals: echoOptions(query),
      });
    let bytesCut = cut();
    while (bytesCut.length > udpLimit(query) && answers.length > 0) {
      answers.pop();
      bytesCut = cut();
    }
    return bytesCut;
  }

  async #answerFromUpstream(
    message: Buffer,
    question: { name: string; type: string; isTcp: boolean },
  ): Promise<Buffer> {
    const { now, upstreams, config, onError } = this.#options;
    const query = normalizeQuery(message, decode(message));
    const tail = query.subarray(12 + Buffer.byteLength(question.name)).toString('latin1');
    const key = `${question.name}/${question.isTcp}/${query.readUInt16BE(2)}/${tail}`;
    const cached = this.#cache.get(key);
    if (cached && cached.expiresAt > now()) {
      this.#counts.cached += 1;
      return withQuestion(cached.answer, message, {
        name: question.name,
        ageSeconds: Math.floor((now() - cached.storedAt) / 1000),
      });
    }
    try {
      const answer = await forwardQuery(query, upstreams, question.isTcp);
      this.#counts.forwarded += 1;
      const seconds = Math.min(config.cacheSeconds, lifetimeOf(answer));
      if (seconds > 0) {
        if (this.#cache.size >= MAX_CACHE_ENTRIES) this.#cache.clear();
        this.#cache.set(key, { answer, storedAt: now(), expiresAt: now() + seconds * 1000 });
      }
      return answer;
    } catch (error) {
      this.#counts.failed += 1;
      if (config.logsErrors) onError(`${question.name} ${question.type}: ${(error as Error).message}`);
      const { id, flags = 0, questions = [] } = decode(message);
      return encode({
        type: 'response',
        ...(id === undefined ? {} : { id }),
        flags: RECURSION_AVAILABLE | (flags & RECURSION_DESIRED) | SERVER_FAILURE,
        questions,
      });
    }
  }
}

interface LocalAnswer {
  readonly isFound: boolean;
  readonly answers: readonly Answer[];
  readonly additionals: readonly Answer[];
}
