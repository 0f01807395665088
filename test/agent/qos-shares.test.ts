import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { AgentPod } from '../../runtime/agent/pod.ts';
import { writeQosShares } from '../../runtime/agent/qos-shares.ts';

function buildPod(requests: Readonly<Record<string, string>>, limits = {}): AgentPod {
  return {
    metadata: { name: 'p', namespace: 'default', uid: JSON.stringify(requests) },
    spec: { containers: [{ name: 'c', image: 'i', resources: { requests, limits } }] },
  } as unknown as AgentPod;
}

const BURSTABLE = [buildPod({ cpu: '250m' }), buildPod({ cpu: '500m' }), buildPod({ memory: '1Mi' })];
const OTHERS = [buildPod({}), buildPod({ cpu: '1', memory: '1Gi' }, { cpu: '1', memory: '1Gi' })];

t.test('writeQosShares() sums what the burstable pods ask for', async (t) => {
  const root = t.testdir({
    kubepods: { burstable: { 'cpu.weight': '100' }, besteffort: { 'cpu.weight': '100' } },
    cpu: { kubepods: { burstable: { 'cpu.shares': '1024' }, besteffort: { 'cpu.shares': '1024' } } },
  });
  const read = (path: string) => readFileSync(join(root, path), 'utf8').slice(0, 4).trim();
  await writeQosShares([...BURSTABLE, ...OTHERS], root);
  // 256 + 512 + 2 shares
  t.match(read('cpu/kubepods/burstable/cpu.shares'), /^770/);
  t.match(read('kubepods/burstable/cpu.weight'), /^30/);
  t.match(read('cpu/kubepods/besteffort/cpu.shares'), /^2/);
  t.match(read('kubepods/besteffort/cpu.weight'), /^1/);
});

t.test('writeQosShares() makes no cgroup', async (t) => {
  const root = t.testdir({ kubepods: {} });
  await writeQosShares(OTHERS, root);
  t.throws(() => readFileSync(join(root, 'kubepods/besteffort/cpu.weight')), { code: 'ENOENT' });
});
