// What is run as tkadm-oci: oci-main.ts, from compiled code where there is some.

import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runCompiled } from '../base/code-cache.ts';

/** Calls that use the most of the program, so that theirs is the code worth keeping. */
const LONG_CALLS = ['run', 'create'];

const path = join(dirname(realpathSync(process.argv[1] ?? '')), 'tkadm-oci.main.cjs');
const keep = runCompiled(path);
if (process.argv.some((argument) => LONG_CALLS.includes(argument))) process.on('exit', keep);
