/**
 * Preloaded into `tkadm`: ends it by SIGKILL just before its journal is synced for the N-th time, N being the
 * parameter of this module's address. Each action has two such moments: before it begins and after it is done.
 */
import { open } from 'node:fs/promises';

const when = Number(new URL(import.meta.url).searchParams.get('when'));
const probe = await open('/dev/null', 'r');
const prototype = Object.getPrototypeOf(probe);
await probe.close();
const { datasync } = prototype;
let count = 0;
prototype.datasync = function () {
  count += 1;
  if (count === when) process.kill(process.pid, 'SIGKILL');
  return datasync.call(this);
};
