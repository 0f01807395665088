import t from 'tap';
import type { ApiLink } from '../../runtime/agent/api-link.ts';
import type { PodStatus } from '../../runtime/agent/pod-status.ts';
import { StatusWriter } from '../../runtime/agent/status-writer.ts';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';

const UID = 'uid';
const status = (ready: 'True' | 'False') =>
  ({ phase: 'Running', conditions: [{ type: 'Ready', status: ready }] }) as unknown as PodStatus;

/** An API with one pod, and what an informer has seen of it: by hand. */
function open() {
  const pod = { version: 1, status: status('False') };
  let seen = { ...pod };
  let patches = 0;
  const client = {
    patch: async (_kind: unknown, _ref: unknown, { body }: { body: { status: PodStatus } }) => {
      patches += 1;
      pod.version += 1;
      pod.status = body.status;
      return { metadata: { resourceVersion: String(pod.version) } };
    },
  };
  const writer = new StatusWriter({
    link: { client } as unknown as ApiLink,
    findTarget: () => ({
      namespace: 'default',
      name: 'pod',
      uid: UID,
      known: seen.status,
      version: String(seen.version),
    }),
    log: SILENT_LOGGER,
    signal: new AbortController().signal,
  });
  return {
    writer,
    pod,
    patches: () => patches,
    async see() {
      seen = { ...pod };
      writer.refresh(UID);
      await writer.flush(UID);
    },
  };
}

t.test('StatusWriter writes once, however late its own change is seen', async (t) => {
  const { writer, pod, patches, see } = open();
  writer.set(UID, status('True'));
  await writer.flush(UID);
  writer.refresh(UID);
  await writer.flush(UID);
  await see();
  t.equal(patches(), 1);
  t.same(pod.status, status('True'));
});

t.test('StatusWriter writes again what somebody else has changed', async (t) => {
  const { writer, pod, patches, see } = open();
  writer.set(UID, status('True'));
  await writer.flush(UID);
  await see();
  pod.version += 1;
  pod.status = status('False');
  await see();
  t.same(pod.status, status('True'), 'a pod that is taken for lost comes back');
  await see();
  t.equal(patches(), 2);
});
