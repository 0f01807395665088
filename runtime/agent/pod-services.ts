import type * as core from 'kubernetes-types/core/v1.d.ts';
import type { Logger } from '../base/log.ts';
import type { CriClient } from '../cri/client.ts';
import type { ApiLink } from './api-link.ts';
import type { Backoff } from './backoff.ts';
import type { DeviceManager } from './devices/device-manager.ts';
import type { DnsSettings } from './dns.ts';
import type { EventRecorder } from './events.ts';
import type { ImagePuller } from './images.ts';
import type { KubeletConfig } from './kubelet-config.ts';
import type { ApiObjectSource } from './objects.ts';
import type { Prober } from './probes/prober.ts';
import type { RuntimeReader } from './runtime-state.ts';
import type { StatusWriter } from './status-writer.ts';
import type { ApiTokenSource } from './volumes/tokens.ts';

/** What every pod worker shares. */
export interface PodServices {
  readonly cri: CriClient;
  readonly reader: RuntimeReader;
  readonly images: ImagePuller;
  readonly prober: Prober;
  readonly devices: DeviceManager;
  readonly restarts: Backoff;
  readonly link: ApiLink;
  readonly objects: ApiObjectSource;
  readonly tokens: ApiTokenSource;
  readonly recorder: EventRecorder;
  readonly statuses: StatusWriter;
  readonly config: KubeletConfig;
  readonly rootDir: string;
  readonly containerLogsDir: string;
  readonly nodeName: string;
  readonly hostname: string;
  readonly nodeMemoryBytes: number;
  /** "containerd", "tkadm": the scheme of container ids. */
  readonly runtimeName: () => string;
  readonly hostIps: () => readonly string[];
  readonly allocatable: () => Readonly<Record<string, string>>;
  /** Services of the cluster; waits for the first full list. */
  readonly services: () => Promise<readonly core.Service[]>;
  readonly hostDns: () => Promise<DnsSettings>;
  /** Shares the CPU between the classes of pods; called when a pod has got or given back its cgroup. */
  readonly shareCpu: () => Promise<void>;
  readonly now: () => number;
  /** Ends with the agent. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}
