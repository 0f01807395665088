import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createCa, issueCertificate, validityFrom } from '../../../pki/issue.ts';
import { runTkadmWithOwnEtc } from './tkadm.ts';

const DAY_MS = 24 * 3600_000;
const algorithm = 'ECDSA-P256' as const;

t.test('every command warns of a certificate that ends soon, and its output stays what it was', async (t) => {
  // The upper directory of an overlay cannot be on an overlay, as the sources may be.
  const directory = await mkdtemp('/var/tmp/tkadm-etc-');
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const pki = join(directory, 'upper/kubernetes/pki');
  mkdirSync(pki, { recursive: true });
  const now = new Date();
  const ca = await createCa({ commonName: 'kubernetes', algorithm, ...validityFrom(now, 999 * DAY_MS) });
  const write = async (days: number) => {
    const { certPem } = await issueCertificate({
      spec: { commonName: 'kube-apiserver', organizations: [], usages: ['server auth'] },
      ca,
      algorithm,
      ...validityFrom(now, days * DAY_MS),
    });
    writeFileSync(join(pki, 'apiserver.crt'), certPem);
  };
  const run = (...args: readonly string[]) => runTkadmWithOwnEtc(directory, ...args);
  const WARNING = /^Warning: certificates end: "apiserver" ends in 19 days; tkadm certs renew all$/m;
  await write(40);
  t.equal((await run('version')).stderr, '', 'nothing ends soon');
  await write(20);
  const version = await run('version', '-o', 'json');
  t.match(version.stderr, WARNING);
  t.ok(JSON.parse(version.stdout));
  const generated = await run('token', 'generate');
  t.match(generated.stderr, WARNING);
  t.match(generated.stdout, /^[a-z0-9]{6}\.[a-z0-9]{16}$/);
  const dryRun = await run('reset', '--dry-run', '-o', 'json');
  const events = dryRun.stdout.split('\n').map((line) => JSON.parse(line));
  t.match(events[0], {
    ...{ type: 'note', command: 'reset', level: 'warning', phase: null, time: /^\d{4}-.*Z$/ },
    message: /"apiserver" ends in 19 days/,
  });
  t.ok(events.length > 3, 'the events of the run follow');
  t.notMatch(dryRun.stderr, WARNING);
  const phase = await run(
    'init',
    'phase',
    'certs',
    'all',
    '--dry-run',
    '--cert-dir',
    '/etc/other',
    '-o',
    'json',
  );
  t.match(JSON.parse(phase.stdout.split('\n', 1)[0]!), { command: 'init', message: /"apiserver" ends in/ });
  for (const quiet of [['certs', 'certificate-key'], ['completion', 'bash'], ['--help']])
    t.notMatch((await run(...quiet)).stderr, /Warning/, quiet.join(' '));
});
