import t from 'tap';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';

t.test('extra arguments are read as kubeadm reads them', async (t) => {
  const cases: readonly [string | readonly string[], readonly string[]][] = [
    ['v=4', ['v 4']],
    ['a=1,b=2', ['a 1', 'b 2']],
    ['authorization-mode=Node,RBAC', ['authorization-mode Node,RBAC']],
    [
      ['v=4', 'v=5'],
      ['v 4', 'v 5'],
    ],
    ['a=,b=x', ['a ', 'b x']],
  ];
  const load = (value: string | readonly string[]) =>
    loadConfiguration({
      kind: 'InitConfiguration',
      overrides: { engine: 'upstream', 'apiserver-extra-args': value },
      defaultsFrom: { hostname: 'node-1', advertiseAddress: '10.0.0.5' },
    });
  for (const [value, expected] of cases) {
    const { config } = await load(value);
    t.same(
      config.cluster.apiServer.extraArgs.map((arg) => `${arg.name} ${arg.value}`),
      expected,
    );
  }
  await t.rejects(load('x'), { code: 'CONFIG_INVALID', message: /--apiserver-extra-args=x/ });
});
