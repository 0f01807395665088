import type { ClusterState } from '../store/cluster-state.ts';
import { formatResource } from '../store/keys.ts';

const BUCKETS_S = [0.005, 0.025, 0.1, 0.5, 1, 5];

interface Series {
  count: number;
  sumS: number;
  readonly buckets: number[];
}

/** Counts requests and writes them in Prometheus' text format, by upstream's names. */
export class Metrics {
  readonly #state: ClusterState;
  readonly #openWatches: () => number;
  readonly #requests = new Map<string, number>();
  readonly #durations = new Map<string, Series>();

  constructor(state: ClusterState, openWatches: () => number) {
    this.#state = state;
    this.#openWatches = openWatches;
  }

  /** Counts one answered request. */
  record(verb: string, resource: string, code: number, durationMs: number): void {
    const labels = `verb="${verb.toUpperCase()}",resource="${resource}"`;
    const key = `${labels},code="${code}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    if (verb === 'watch') return;
    const series = this.#durations.get(labels) ?? { count: 0, sumS: 0, buckets: BUCKETS_S.map(() => 0) };
    this.#durations.set(labels, series);
    const seconds = durationMs / 1000;
    series.count += 1;
    series.sumS += seconds;
    for (const [index, limit] of BUCKETS_S.entries()) if (seconds <= limit) series.buckets[index]! += 1;
  }

  format(): string {
    const stats = this.#state.store.stats();
    const lines = ['# TYPE apiserver_request_total counter'];
    for (const [labels, count] of this.#requests) lines.push(`apiserver_request_total{${labels}} ${count}`);
    lines.push('# TYPE apiserver_request_duration_seconds histogram');
    for (const [labels, series] of this.#durations) lines.push(...formatSeries(labels, series));
    lines.push('# TYPE apiserver_longrunning_requests gauge');
    lines.push(`apiserver_longrunning_requests{verb="WATCH"} ${this.#openWatches()}`);
    lines.push('# TYPE apiserver_storage_objects gauge');
    for (const resource of this.#state.resources()) {
      lines.push(`apiserver_storage_objects{resource="${formatResource(resource.row)}"} ${resource.size}`);
    }
    lines.push(
      '# TYPE apiserver_storage_size_bytes gauge',
      `apiserver_storage_size_bytes ${stats.sizeBytes}`,
    );
    if (Number.isFinite(stats.maxSizeBytes)) {
      lines.push(
        '# TYPE apiserver_storage_quota_bytes gauge',
        `apiserver_storage_quota_bytes ${stats.maxSizeBytes}`,
      );
    }
    return `${lines.join('\n')}\n`;
  }
}

function formatSeries(labels: string, series: Series): readonly string[] {
  const name = 'apiserver_request_duration_seconds';
  return [
    ...BUCKETS_S.map((limit, index) => `${name}_bucket{${labels},le="${limit}"} ${series.buckets[index]}`),
    `${name}_bucket{${labels},le="+Inf"} ${series.count}`,
    `${name}_sum{${labels}} ${series.sumS}`,
    `${name}_count{${labels}} ${series.count}`,
  ];
}
