import { createLab } from '/work/wt/apply/test/hosts/lab.ts';
import { writeFileSync } from 'node:fs';
const n = Number(process.argv[2] ?? 3);
const lab = await createLab({ hostNames: ['admin', 'cp', ...Array.from({length:n-1},(_, i)=>`w${i+1}`)], withoutNode: ['w1'] });
writeFileSync('/tmp/apply-lab.json', JSON.stringify({ pid: process.pid, dir: lab.directory, hosts: lab.hosts.map(h => ({name: h.name, address: h.address, pid: h.pid})) }, null, 1));
console.log('ready');
process.on('SIGUSR2', async () => { await lab.close(); process.exit(0); });
setInterval(()=>{}, 1e6);
