import { PATHS } from '../../runtime/base/paths.ts';
import { createCriClient } from '../../runtime/cri/client.ts';

/** Stops, and on request removes, every pod sandbox of the runtime; returns how many there were. */
export async function stopAllSandboxes({ remove }: { readonly remove: boolean }): Promise<number> {
  const client = createCriClient(PATHS.runtimeSocket);
  try {
    const { items } = await client.listPodSandbox({});
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
