// Makes what the machines are started from, while there is still a way to Debian's mirrors.
import { prepareSystemDisk } from '../vm/disk.ts';
import { prepareBox } from './box.ts';

const tell = (text: string) => process.stdout.write(`${text}\n`);
await prepareSystemDisk(tell);
await prepareBox(tell);
