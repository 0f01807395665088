import type { KubeObject } from '../../api/kinds.ts';
import { formatResource } from '../store/keys.ts';
import { sendJson } from './answers.ts';
import type { Call } from './call.ts';
import { chooseAccepted, isPlain } from './negotiate.ts';
import { bindPod } from './pod-binding.ts';
import { evictPod } from './pod-eviction.ts';
import type { PodStreams } from './pod-streams.ts';
import { answerScale } from './scale.ts';
import type { UpgradeSocket } from './server.ts';
import { notFound } from './status-errors.ts';
import { readObject, targetOf, type WriteDependencies } from './write-handlers.ts';

/** Answers one kind of call; of those that leave HTTP it gets the socket. */
export type CallHandler = (call: Call, upgrade: UpgradeSocket | undefined) => Promise<void>;

/** Answers the review of a kind (TokenReview, SubjectAccessReview, ...). */
export type ReviewHandler = (call: Call, review: KubeObject) => Promise<KubeObject> | KubeObject;

/** What those handlers need besides what every write needs. */
export interface SubresourceOptions extends WriteDependencies {
  readonly streams: PodStreams;
  readonly reviews: Readonly<Record<string, ReviewHandler>>;
  /** POST serviceaccounts/NAME/token */
  readonly issueToken: (call: Call, request: KubeObject) => Promise<KubeObject> | KubeObject;
}

/** The handlers of paths that are more than reading and writing an object. */
export class SubresourceHandlers {
  readonly #handlers: ReadonlyMap<string, CallHandler>;
  readonly #scale: CallHandler;
  readonly #reviews: Readonly<Record<string, ReviewHandler>>;
  readonly #review: CallHandler;

  constructor(options: SubresourceOptions) {
    const { streams } = options;
    const bind: CallHandler = (call) => bindPod(options, call);
    this.#handlers = new Map<string, CallHandler>([
      ['bindings/', bind],
      ['pods/binding', bind],
      ['pods/eviction', (call) => evictPod(options, call)],
      ['pods/log', (call) => streams.log(call)],
      ['pods/exec', (call, upgrade) => streams.exec(call, upgrade)],
      ['pods/attach', (call, upgrade) => streams.exec(call, upgrade)],
      ['pods/portforward', (call, upgrade) => streams.portForward(call, upgrade)],
      ['pods/proxy', (call, upgrade) => streams.proxyPod(call, upgrade)],
      ['services/proxy', (call, upgrade) => streams.proxyService(call, upgrade)],
      ['nodes/proxy', (call, upgrade) => streams.proxyNode(call, upgrade)],
      ['serviceaccounts/token', (call) => issueToken(options, call)],
      ['componentstatuses/', (call) => answerComponentStatuses(call)],
    ]);
    this.#scale = (call) => answerScale(options, call);
    this.#reviews = options.reviews;
    this.#review = (call) => answerReview(options, call);
  }

  /** The handler of a call that has one of its own. */
  find(call: Call): CallHandler | undefined {
    if (call.info.subresource === 'scale') return this.#scale;
    if (call.info.subresource === '' && this.#reviews[call.row.kind]) return this.#review;
    return this.#handlers.get(`${formatResource(call.row)}/${call.info.subresource}`);
  }
}

async function answerReview(options: SubresourceOptions, call: Call): Promise<void> {
  chooseAccepted(call.request.headers.accept, isPlain);
  const review = await readObject(options.codec, call, call.row);
  const answer = await options.reviews[call.row.kind]!(call, review);
  const { kind, group, version } = call.row;
  const apiVersion = group === '' ? version : `${group}/${version}`;
  sendJson(call.response, 201, { ...answer, kind, apiVersion });
}

async function issueToken(options: SubresourceOptions, call: Call): Promise<void> {
  const row = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' };
  const object = await readObject(options.codec, call, row);
  const change = { operation: 'CREATE', object, oldObject: undefined } as const;
  const issue = async () => options.issueToken(call, object);
  const answer = await options.registry.admit(targetOf(call), change, issue);
  sendJson(call.response, 201, { ...answer, kind: 'TokenRequest', apiVersion: 'authentication.k8s.io/v1' });
}

async function answerComponentStatuses(call: Call): Promise<void> {
  const item = (name: string, message: string) => ({
    kind: 'ComponentStatus',
    apiVersion: 'v1',
    metadata: { name, creationTimestamp: null },
    conditions: [{ type: 'Healthy', status: 'True', message }],
  });
  // Only the store is this server's to judge; the other two have health endpoints of their own.
  const items = [item('etcd-0', 'ok')];
  if (call.info.verb === 'list') {
    return sendJson(call.response, 200, {
      kind: 'ComponentStatusList',
      apiVersion: 'v1',
      metadata: {},
      items,
    });
  }
  const found = items.find((candidate) => candidate.metadata.name === call.info.name);
  if (!found) throw notFound(call.row, call.info.name);
  sendJson(call.response, 200, found);
}
