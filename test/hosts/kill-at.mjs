/**
 * Preloaded into `tkadm`: ends it by SIGKILL just before its journal is written or synced for the N-th time, N being
 * `when` of this module's address. An action has four such moments: two before it begins and two after it is done. With
 * `at=rename`: just before a file takes its place.
 */
import promises, { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const parameters = new URL(import.meta.url).searchParams;
const when = Number(parameters.get('when'));
const methods = parameters.get('at')?.split(',') ?? ['appendFile', 'datasync'];
const probe = await open('/dev/null', 'r');
const prototype = Object.getPrototypeOf(probe);
await probe.close();
let count = 0;
for (const method of methods) {
  const holder = method === 'rename' ? promises : prototype;
  const original = holder[method];
  holder[method] = function (...values) {
    count += 1;
    if (count === when) process.kill(process.pid, 'SIGKILL');
    return original.apply(this, values);
  };
}
syncBuiltinESMExports();
