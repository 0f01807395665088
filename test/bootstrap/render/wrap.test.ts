import t from 'tap';
import { formatSummary } from '../../../bootstrap/render/fleet-result.ts';
import { formatWarning } from '../../../bootstrap/render/wrap.ts';

const WARNING =
  'Warning: Swap: swap is on, and pods are not measured with it; fix: swapoff -a && sed -i /swap/d /etc/fstab';

t.test('formatWarning() wraps what is said and leaves the command whole', async (t) => {
  t.equal(
    formatWarning(WARNING, 40),
    [
      'Warning: Swap: swap is on, and pods are',
      '  not measured with it',
      '  fix: swapoff -a && sed -i /swap/d /etc/fstab',
      '',
    ].join('\n'),
  );
  t.equal(formatWarning(WARNING), `${WARNING}\n`, 'nothing is changed where there is no width');
});

t.test('formatSummary() keeps reasons in their column', async (t) => {
  const result = {
    host: '10.0.0.1',
    durationMs: 1,
    error: new Error('Cannot connect: nobody answers there at all'),
  };
  const lines = formatSummary([result], 60).trimEnd().split('\n');
  const at = lines[1]!.indexOf('REASON');
  t.ok(lines.length > 3, 'the reason takes more than one line');
  for (const line of lines.slice(1)) t.ok(line.length <= 60, line);
  for (const line of lines.slice(3)) t.match(line, new RegExp(`^ {${at}}\\S`));
});
