import t from 'tap';
import { parseSshTarget } from '../../../bootstrap/ssh/target.ts';

t.test('parseSshTarget() takes addresses and names, and refuses what is neither', async (t) => {
  for (const [text, target] of [
    ['10.0.0.5', { host: '10.0.0.5' }],
    ['admin@10.0.0.5:2222', { user: 'admin', host: '10.0.0.5', port: 2222 }],
    ['ssh://root@[fd00::5]:22/', { user: 'root', host: 'fd00::5', port: 22 }],
    ['1.2.3.example', { host: '1.2.3.example' }],
  ] as const)
    t.same(parseSshTarget(text), target, text);
  for (const [text, message] of [
    ['10.0.0.299', /"10\.0\.0\.299" is no IPv4 address/],
    ['root@10.0.0.5:99999', /not of the form/],
    ['-oProxyCommand=x', /not of the form/],
  ] as const)
    t.throws(() => parseSshTarget(text), { code: 'USAGE', message }, text);
});
