import t from 'tap';
import { reportError } from '../../../bootstrap/render/error-event.ts';
import { listGivenSecrets, maskDeep, maskSecrets } from '../../../bootstrap/render/mask.ts';
import { createRenderer } from '../../../bootstrap/render/renderer.ts';
import { TkadmError } from '../../../runtime/base/errors.ts';

const SECRET = 'q7w8e9r0t1y2u3i4';
const TOKEN = `abcxyz.${SECRET}`;
const KEY = `-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBv${SECRET}\nAAAA\n-----END EC PRIVATE KEY-----`;

const HIDDEN: readonly (readonly [string, string])[] = [
  [`Cannot use ${TOKEN}: no`, 'Cannot use abcxyz.<redacted>: no'],
  [`tokens ${TOKEN},${TOKEN}`, 'tokens abcxyz.<redacted>,abcxyz.<redacted>'],
  [`"${TOKEN}"`, '"abcxyz.<redacted>"'],
  [KEY, '-----BEGIN EC PRIVATE KEY-----<redacted>-----END EC PRIVATE KEY-----'],
  [KEY.slice(0, 60), '-----BEGIN EC PRIVATE KEY-----<redacted>'],
  [`authorization: Bearer ${SECRET}`, 'authorization: Bearer <redacted>'],
  [`eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.${SECRET}`, '<redacted>'],
  [`client-key-data: ${SECRET}`, 'client-key-data: <redacted>'],
  [`{"certificateKey":"${SECRET}"}`, '{"certificateKey":"<redacted>"}'],
];

const SHOWN = [
  'it is not of the form "abcdef.0123456789abcdef"',
  'worker.abcdefghijklmnop.example.com is a host',
  'node01.mycompanydomain1.com',
  `sha256:${'ab'.repeat(32)}`,
  '-----BEGIN RSA PRIVATE KEY-----\n+(secret)\n+-----END RSA PRIVATE KEY-----',
  '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
];

t.test('maskSecrets() hides what is secret by its form, and nothing else', (t) => {
  for (const [text, expected] of HIDDEN) t.equal(maskSecrets(text), expected);
  for (const text of SHOWN) t.equal(maskSecrets(text), text);
  t.equal(maskSecrets('the password horse-battery', ['horse-battery', 'a']), 'the password <redacted>');
  t.same(maskDeep({ a: [TOKEN, 1, null], b: { c: TOKEN } }), {
    a: ['abcxyz.<redacted>', 1, null],
    b: { c: 'abcxyz.<redacted>' },
  });
  t.end();
});

t.test('listGivenSecrets() finds them in flags and the environment', (t) => {
  const argv = ['join', 'x', '--token', TOKEN, '--certificate-key=ffff0000', '--node-name', 'n', '--token'];
  t.same(listGivenSecrets(argv, { TKADM_SSH_PASSWORD: 'pass word', HOME: '/root' }), [
    SECRET,
    'ffff0000',
    'pass word',
  ]);
  t.end();
});

t.test('reportError() keeps secrets out of message, hint and details', (t) => {
  const secrets = ['ffff0000'];
  const error = new TkadmError('USAGE', `Cannot use ${TOKEN} with ffff0000`, {
    hint: `try ${TOKEN}`,
    details: { list: [{ token: TOKEN }] },
  });
  for (const thrown of [error, new Error(error.message), error.message]) {
    t.notMatch(JSON.stringify(reportError(thrown, { isInterrupted: false, secrets })), /q7w8|ffff0000/);
  }
  t.end();
});

t.test('renderers keep secrets out of what phases tell', async (t) => {
  for (const format of ['text', 'json', 'yaml'] as const) {
    let written = '';
    const write = (text: string) => {
      written += text;
    };
    const renderer = await createRenderer({ format, isTerminal: false, command: 'join', write, phases: [] });
    renderer.emit({ type: 'note', level: 'warning', message: `token ${TOKEN}` });
    renderer.emit({ type: 'phase-failed', phase: 'x', message: `token ${TOKEN}` });
    await renderer.finish({
      isOk: true,
      text: `--token ${TOKEN}\n`,
      data: { joinCommand: `--token ${TOKEN}` },
    });
    t.equal(written.split(SECRET).length, 2, `${format}: in the join command alone`);
  }
});
