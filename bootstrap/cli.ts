import { VERSION } from '../runtime/base/version.ts';

process.stdout.write(`tkadm ${VERSION}\n`);
