import { isTkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { createCriClient } from '../../runtime/cri/client.ts';
import { CTR_SOCKET, callCtr } from '../../runtime/ctr/ctr-client.ts';

/** Stops, and on request removes, every pod sandbox of a runtime, by default ours; returns how many there were. */
export async function stopAllSandboxes({
  remove,
  socketPath = PATHS.runtimeSocket,
}: {
  readonly remove: boolean;
  readonly socketPath?: string | undefined;
}): Promise<number> {
  const client = createCriClient(socketPath);
  try {
    // A runtime that was just started may not listen yet; a dead one leaves its socket behind.
    const { items } = await waitFor(() => client.listPodSandbox({}), {
      subject: 'the pods of the container runtime',
      timeoutMs: 10_000,
    });
    await Promise.all(
      items.map(async ({ id: podSandboxId }) => {
        await client.stopPodSandbox({ podSandboxId });
        if (remove) await client.removePodSandbox({ podSandboxId });
      }),
    );
    return items.length;
  } finally {
    client.close();
  }
}

/** Stops, or removes, every container of `tkadm ctr`; returns how many there were. For a runtime that answers. */
export async function endContainers({ remove }: { readonly remove: boolean }): Promise<number> {
  try {
    return (await callCtr(CTR_SOCKET, remove ? 'removeAll' : 'stopAll', {})).count;
  } catch (error) {
    // A runtime of an earlier package has none.
    if (isTkadmError(error, 'CTR_RUNTIME_UNREACHABLE')) return 0;
    throw error;
  }
}
