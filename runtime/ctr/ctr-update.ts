import { TkadmError } from '../base/errors.ts';
import { type CtrContext, engineId, latest, publishContainer } from './ctr-context.ts';
import { isRunning } from './ctr-lifecycle.ts';
import type { UpdateRequest } from './ctr-messages.ts';
import { buildResources } from './ctr-spec.ts';

/** Changes limits, of a running container at once, and the restart policy. @throws CTR_CONFLICT */
export async function updateContainer(
  context: CtrContext,
  id: string,
  { resources, restart }: Omit<UpdateRequest, 'name'>,
): Promise<void> {
  await context.locks.run(id, async () => {
    const record = latest(context, id);
    const { options } = record;
    if (options.isAutoRemoved && restart !== undefined && restart.name !== 'no') {
      throw new TkadmError(
        'CTR_CONFLICT',
        `Cannot update container "${record.name}": --rm and --restart exclude each other`,
      );
    }
    if (isRunning(record)) await context.engine.update(engineId(id), buildResources(resources));
    const next = {
      ...record,
      options: {
        ...options,
        resources: { ...options.resources, ...resources },
        ...(restart !== undefined && { restart }),
      },
    };
    await context.records.put(next);
    publishContainer(context, next, 'update');
  });
}
