// What every program is started by: NAME.main.cjs beside this file NAME, from compiled code where there is some.

import { basename } from 'node:path';
import { runCompiled } from './code-cache.ts';

/**
 * Commands that keep their own code where none was made, and the calls that use the most of it. What runs on and on
 * has the code that came with it or none.
 */
const KEEPERS: Readonly<Record<string, readonly string[]>> = {
  tkadm: ['init', 'join', 'apply', 'ctr'],
  'tkadm-oci': ['run', 'create'],
};

const name = basename(__filename).replace(/\.c?js$/, '');
const keep = runCompiled(__filename.replace(/\.c?js$/, '.main.cjs'), __filename);
if (process.argv.some((argument) => KEEPERS[name]?.includes(argument))) process.on('exit', keep);
