import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  joinArguments,
  kubectlText,
  labObstacle,
  listTokens,
  parseJoinCommand,
  readyNodes,
  TKADM,
  tkadm,
} from '../hosts/cluster.ts';
import { type CommandOutput, createLab, type LabHost, signalEntered } from '../hosts/lab.ts';

const KILL_AT = `file://${join(import.meta.dirname ?? '.', '../hosts/kill-at.mjs')}`;
const ENTRIES = '/var/lib/tkadm/journal/entries.jsonl';

/** Ends the SSH sessions of a machine as soon as something is changed on it. */
const CUT = 'until [ -s "$1" ]; do sleep 0.01; done; pkill -KILL -f "^sshd: root@notty"';

/** After how many writes and syncs of the journal a run is killed; each run of a command gets two more. */
const STRIDES = { init: 40, join: 14, reset: 40, certs: 9 };

/** "init 1-60": a run of it on a fresh machine is killed at each of these moments; "join 5-": up to its last. */
const EVERY_STEP = process.env['TKADM_TEST_EVERY_STEP'];

t.test('killed at every step', { skip: labObstacle() || !EVERY_STEP, timeout: 900_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];
  const [, command, from, to = 'Infinity'] = /^(init|join) (\d+)-(\d*)$/.exec(EVERY_STEP ?? '') ?? [];
  const steps = { from: Number(from), to: Number(to || 'Infinity') };
  if (command === 'init') return killAtEach(t, cp, ['init', '--fix'], steps);
  const { stdout } = await tkadm(cp, ['init', '--fix']);
  const joinWords = ['join', ...joinArguments(parseJoinCommand(stdout)), '--fix'];
  // A worker may not delete its own Node.
  await killAtEach(t, node1, joinWords, steps, () =>
    kubectlText(cp, ['delete', 'node', 'node1', '--ignore-not-found']),
  );
});

t.test(
  'whatever is interrupted is gone on with',
  { skip: labObstacle() || (EVERY_STEP !== undefined && 'every step is asked for'), timeout: 900_000 },
  async (t) => {
    const lab = await createLab({ hostNames: ['cp', 'node1'] });
    t.teardown(() => lab.close());
    const [cp, node1] = lab.hosts as [LabHost, LabHost];
    let joinWords: readonly string[] = [];

    await t.test('init after Ctrl-C', async (t) => {
      t.equal(await interrupt(cp, ['init', '--fix', '-o', 'json']), 130);
      t.match(await lastLine(cp), /"type":"run-ended","run":1,"state":"interrupted"/);
    });

    await t.test('init after a loss of power that tore the line of its next action', async (t) => {
      const run = await killAt(cp, ['init', '--fix'], { when: 4, at: 'datasync' });
      t.ok(isKilled(run), run.stderr);
      t.match(run.stdout, /Going on after an interruption at /);
      const { stdout: before } = await cp.exec(['cat', ENTRIES]);
      await cp.exec(['truncate', '-s', '-7', ENTRIES]);
      const next = await killAt(cp, ['init', '--fix'], { when: 4, at: 'datasync' });
      t.ok(isKilled(next), next.stderr);
      const { stdout: after } = await cp.exec(['cat', ENTRIES]);
      const whole = before.slice(0, before.lastIndexOf('\n', before.length - 2) + 1);
      t.ok(after.startsWith(whole), 'whole lines stay');
      t.ok(after.slice(whole.length).startsWith('{"type":"run-started"'), 'the torn one is gone');
    });

    await t.test('init, killed again and again', async (t) => {
      const last = await killOnAndOn(t, cp, ['init', '--fix'], STRIDES.init);
      t.same(await readyNodes(cp), ['cp']);
      joinWords = ['join', ...joinArguments(parseJoinCommand(last.stdout)), '--fix'];
    });

    await t.test('join, killed again and again', async (t) => {
      await killOnAndOn(t, node1, joinWords, STRIDES.join);
      t.same(await readyNodes(cp), ['cp', 'node1']);
    });

    await t.test('reset, killed again and again', async (t) => resetOnAndOn(t, node1));

    await t.test('a join over SSH whose connection breaks', async (t) => {
      await kubectlText(cp, ['delete', 'node', 'node1']);
      const tokens = await listTokens(cp);
      const join = ['join', `root@${node1.address}`, '--ssh-host-keys', 'accept-new', '--fix', '-o', 'json'];
      const cut = node1.spawn(['sh', '-c', CUT, 'cut', ENTRIES]);
      const first = await tkadm(cp, join);
      t.equal((await cut).exitCode, 0, 'the connection was cut');
      t.not(first.exitCode, 0, 'the join fails');
      t.same(await listTokens(cp), tokens, 'its token is gone');
      const again = await tkadm(cp, join);
      t.equal(again.exitCode, 0, again.all);
      t.match(again.stdout, /Going on after an interruption at /);
      t.same(await readyNodes(cp), ['cp', 'node1']);
      t.same(await listTokens(cp), tokens);
      const result = await tkadm(node1, ['reset', '-f', '-o', 'json']);
      t.match(JSON.parse(result.stdout.trim().split('\n').at(-1) ?? ''), {
        ok: true,
        differences: [],
        kept: [],
      });
    });

    await t.test('certs renew, killed between a key and its certificate', async (t) => {
      const run = await killAt(cp, ['certs', 'renew', 'apiserver'], { when: 2, at: 'rename' });
      t.ok(isKilled(run), run.stderr);
      t.same(await listUnfit(cp), ['apiserver']);
      const next = await tkadm(cp, ['certs', 'renew', 'front-proxy-client']);
      t.equal(next.exitCode, 0, next.all);
      t.same(await listUnfit(cp), [], 'the next run puts the certificate in its place, whatever it renews');
    });

    await t.test('certs renew, killed again and again', async (t) => {
      for (let when = STRIDES.certs; ; when += STRIDES.certs) {
        const run = await killAt(cp, ['certs', 'renew', 'all', '--no-wait'], { when });
        t.same(await listUnfit(cp), [], `killed at ${when}`);
        if (isKilled(run)) continue;
        t.equal(run.exitCode, 0, run.stderr);
        return;
      }
    });

    await t.test('reset of the control plane, killed again and again', async (t) => resetOnAndOn(t, cp));
  },
);

/**
 * Kills a command at one moment after the other. What was killed at an odd one is gone on with to its end; reset then
 * leaves the machine as it was before, and so it does at once after an even one.
 */
async function killAtEach(
  t: Test,
  host: LabHost,
  args: readonly string[],
  { from, to }: { readonly from: number; readonly to: number },
  afterReset: () => Promise<unknown> = async () => {},
): Promise<void> {
  for (let when = from; when <= to; when += 1) {
    const run = await killAt(host, args, { when });
    if (isKilled(run) && when % 2 === 1) {
      const again = await tkadm(host, args);
      t.equal(
        again.exitCode,
        0,
        `${args[0]} goes on after ${when}: ${again.exitCode === 0 ? '' : again.all}`,
      );
    }
    const result = await tkadm(host, ['reset', '-f', '-o', 'json']);
    const { ok, differences = [] } = JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '');
    t.same({ ok, differences }, { ok: true, differences: [] }, `reset after ${args[0]} killed at ${when}`);
    await afterReset();
    if (!isKilled(run)) return;
  }
}

async function resetOnAndOn(t: Test, host: LabHost): Promise<void> {
  const last = await killOnAndOn(t, host, ['reset', '-f'], STRIDES.reset);
  t.match(last.stdout, /before its first change: no difference/);
  const script = 'find /var/lib/tkadm /var/lib/kubelet /etc/kubernetes -mindepth 1';
  t.equal((await host.exec(['sh', '-c', script])).stdout, '', 'nothing is left');
}

/** Names of the certificates that do not belong to the key beside them. */
async function listUnfit(host: LabHost): Promise<readonly string[]> {
  const { stdout } = await host.exec(['sh', '-c', 'cd /etc/kubernetes/pki && ls *.crt']);
  const names = stdout
    .split('\n')
    .filter(Boolean)
    .map((name) => name.replace(/\.crt$/, ''));
  const fits = await Promise.all(
    names.map(async (name) => {
      const [certificate, key] = await Promise.all(
        ['crt', 'key'].map(
          async (end) => (await host.exec(['cat', `/etc/kubernetes/pki/${name}.${end}`])).stdout,
        ),
      );
      return new X509Certificate(certificate!).checkPrivateKey(createPrivateKey(key!));
    }),
  );
  return names.filter((_, i) => !fits[i]);
}

interface KillMoment {
  readonly when: number;
  readonly at?: string;
}

/** Runs tkadm until it is killed, or ends before that. */
function killAt(host: LabHost, args: readonly string[], { when, at }: KillMoment): Promise<CommandOutput> {
  const moment = `${KILL_AT}?when=${when}${at ? `&at=${at}` : ''}`;
  return host.exec([process.execPath, '--import', moment, TKADM, ...args], { timeoutMs: 180_000 });
}

function isKilled({ exitCode }: CommandOutput): boolean {
  return exitCode === 125 || exitCode === 137;
}

/** Kills a command each time it has done a little more; returns the run that comes to the end. */
async function killOnAndOn(
  t: Test,
  host: LabHost,
  args: readonly string[],
  stride: number,
): Promise<CommandOutput> {
  const texts: string[] = [];
  /** Runs whose last line was written, and not synced yet: there is nothing to go on with. */
  const ended = new Set<number>();
  for (;;) {
    const run = await killAt(host, args, { when: stride + 2 * texts.length });
    texts.push(run.stdout);
    if (isKilled(run) && /"type":"run-ended"/.test(await lastLine(host))) ended.add(texts.length);
    if (isKilled(run) && texts.length < 100) continue;
    t.equal(
      run.exitCode,
      0,
      `${args[0]} on ${host.name}: ${run.stderr}${run.exitCode === 0 ? '' : run.stdout}`,
    );
    t.ok(texts.length > 1, `killed ${texts.length - 1} times`);
    t.ok(
      texts.every((text, i) => i === 0 || ended.has(i) || /Going on after an interruption at /.test(text)),
      'each run says so',
    );
    return run;
  }
}

/** Ctrl-C as soon as something is changed. */
async function interrupt(host: LabHost, args: readonly string[]): Promise<number | undefined> {
  const child = host.spawn([process.execPath, TKADM, ...args]);
  let text = '';
  await new Promise<void>((resolve) => {
    void child.then(() => resolve());
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk;
      if (text.includes('"type":"action"')) resolve();
    });
  });
  await signalEntered(child, 'SIGINT');
  return (await child).exitCode;
}

async function lastLine(host: LabHost): Promise<string> {
  return (await host.exec(['tail', '-n', '1', ENTRIES])).stdout;
}
