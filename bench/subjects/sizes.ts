import { execFileSync } from 'node:child_process';
import { tkadm, withLab } from '../cluster.ts';
import type { Subject } from '../measure.ts';

/** What is downloaded and what lies on a node's disk. */
export const sizesSubject: Subject = {
  name: 'sizes',
  rows: [
    { key: 'size.tarball', what: 'npm tarball', unit: 'MB', bar: 5 },
    { key: 'size.bundle', what: 'node bundle on disk', unit: 'MB', bar: 150, peers: 'kubeadm stack 920' },
  ],
  async run(bench) {
    const text = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: bench.root,
      encoding: 'utf8',
    });
    const [packed] = JSON.parse(text) as [{ size: number }];
    bench.record('size.tarball', packed.size / 1e6);
    await withLab({ hostNames: ['bench-size'] }, async (lab) => {
      const host = lab.hosts[0]!;
      await tkadm(bench, host, ['init', 'phase', 'bundle']);
      const { stdout } = await host.exec(['du', '-s', '--block-size=1', '/var/lib/tkadm/bundle']);
      bench.record('size.bundle', Number(stdout.split('\t')[0]) / 1e6);
    });
  },
};
