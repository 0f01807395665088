import type { Test } from 'tap';
import { apply, eventually, follow, getJson, kubectl, kubectlText, readyPods } from '../hosts/cluster.ts';
import type { LabHost } from '../hosts/lab.ts';
import { inTerminal } from '../hosts/terminal.ts';

interface Streams {
  readonly cp: LabHost;
  /** An image of busybox that the node named "cp" can start. */
  readonly image: string;
}

interface PodOptions {
  readonly name: string;
  readonly image: string;
  readonly script: string;
  readonly container?: string;
}

/** A pod of one container on the control plane. */
function pod({ name, image, script, container = '' }: PodOptions): string {
  return `
apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  nodeName: cp
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "${image}", command: [sh, -c, ${JSON.stringify(script)}], ${container}}]
`;
}

const TERMINAL_ENV = { KUBECONFIG: '/etc/kubernetes/admin.conf' };

/** kubectl attach, run -i, cp and debug against a cluster whose node is named "cp". */
export async function testStreams(t: Test, { cp, image }: Streams): Promise<void> {
  await t.test('attach: output, input that ends, a terminal', async (t) => {
    await apply(
      cp,
      [
        pod({
          name: 'ticker',
          image,
          script: 'n=0; while true; do echo "tick $n"; n=$((n+1)); sleep 0.2; done',
        }),
        pod({
          name: 'reader',
          image,
          script: 'while read line; do echo "got $line"; done; echo ended; exit 3',
          container: 'stdin: true, stdinOnce: true',
        }),
        pod({
          name: 'terminal',
          image,
          script: 'tty; while read line; do stty size; echo "got $line"; [ "$line" = end ] && exit 0; done',
          container: 'stdin: true, tty: true',
        }),
      ].join('---'),
    );
    await readyPods(cp, ['ticker', 'reader', 'terminal'], { count: 3, timeoutMs: 30_000 });

    const ticks = follow(cp, ['kubectl', 'attach', 'ticker']);
    await eventually('attached output', 15_000, async () => /tick \d+\ntick \d+/.test(ticks.text()));
    await ticks.stop();
    t.notMatch(ticks.text(), /tick 0\n/, 'output from the moment of attaching on');

    const input = Array.from({ length: 500 }, (_, index) => `line ${index}`).join('\n');
    const read = await kubectl(cp, ['attach', '-i', 'reader'], { input: `${input}\n` });
    t.equal(read.exitCode, 0, read.all);
    t.equal((read.stdout.match(/got line/g) ?? []).length, 500, 'every line of input came back');
    await eventually('the reader to end', 10_000, async () => {
      const { status } = await getJson<{ status: { phase: string } }>(cp, ['pod', 'reader']);
      return status.phase === 'Failed';
    });
    t.match(await kubectlText(cp, ['logs', 'reader', '--tail=2']), /got line 499\nended\n/);

    const shown = await inTerminal(
      cp,
      'stty rows 33 cols 99; kubectl attach -it terminal; echo "code $?"',
      [
        { seen: 'pressing enter', type: 'hello' },
        { seen: 'got hello', type: 'end' },
      ],
      { env: TERMINAL_ENV, last: 'code' },
    );
    t.match(shown, /33 99[\s\S]*got hello[\s\S]*got end[\s\S]*code 0/);
    t.match(
      (await kubectl(cp, ['attach', 'reader'])).stderr,
      /completed|terminated|not running|cannot attach/i,
    );
    t.match((await kubectl(cp, ['attach', 'no-such-pod'])).stderr, /pods "no-such-pod" not found/);
  });

  await t.test('run -i --rm: input, output and the exit code of the container', async (t) => {
    const run = (name: string, command: readonly string[], text: string) =>
      kubectl(
        cp,
        [
          'run',
          name,
          `--image=${image}`,
          '--restart=Never',
          '-i',
          '--rm',
          '--quiet',
          '--command',
          '--',
          ...command,
        ],
        { input: text },
      );
    const sorted = await run('words', ['sh', '-c', 'cat; echo done'], 'b\na\n');
    t.equal(sorted.exitCode, 0, sorted.all);
    t.match(sorted.stdout, /b\na\ndone\n/);
    t.match(await run('fails', ['sh', '-c', 'cat > /dev/null; exit 5'], 'x\n'), { exitCode: 5 });
    t.match((await kubectl(cp, ['get', 'pod', 'words', 'fails'])).stderr, /NotFound/, 'both are removed');
  });

  await t.test('cp: files and directories, both ways', async (t) => {
    const local = '/root/copies';
    const make = `mkdir -p ${local}/tree/deep && head -c 3000000 /dev/urandom > ${local}/big && echo one > ${local}/tree/a && echo two > ${local}/tree/deep/b && chmod 750 ${local}/tree/a`;
    t.equal((await cp.exec(['sh', '-ec', make])).exitCode, 0);
    await kubectlText(cp, ['cp', `${local}/big`, 'ticker:/tmp/big']);
    await kubectlText(cp, ['cp', `${local}/tree`, 'default/ticker:/tmp/tree', '-c', 'main']);
    const sum = async (argv: readonly string[]) => (await cp.exec(argv)).stdout.split(' ')[0];
    const expected = await sum(['sha256sum', `${local}/big`]);
    t.equal(
      (await kubectlText(cp, ['exec', 'ticker', '--', 'sha256sum', '/tmp/big'])).split(' ')[0],
      expected,
    );
    t.equal(
      await kubectlText(cp, ['exec', 'ticker', '--', 'cat', '/tmp/tree/a', '/tmp/tree/deep/b']),
      'one\ntwo\n',
    );
    t.match(await kubectlText(cp, ['exec', 'ticker', '--', 'ls', '-l', '/tmp/tree/a']), /^-rwxr-x---/);
    await kubectlText(cp, ['cp', 'ticker:/tmp/big', `${local}/back`]);
    t.equal(await sum(['sha256sum', `${local}/back`]), expected, 'three megabytes come back unchanged');
    await kubectlText(cp, ['cp', 'ticker:/tmp/tree', `${local}/tree-back`]);
    t.equal((await cp.exec(['diff', '-r', `${local}/tree`, `${local}/tree-back`])).exitCode, 0);
    // Of a file that is not in the pod kubectl may see the archive's end before it sees tar fail.
    const missing = await kubectl(cp, ['cp', 'ticker:/tmp/none', `${local}/none`]);
    t.notMatch((await cp.exec(['ls', local])).stdout, /none/, missing.all);
    t.not((await kubectl(cp, ['cp', `${local}/none`, 'ticker:/tmp/none'])).exitCode, 0);
  });

  await t.test('debug: an ephemeral container beside the others', async (t) => {
    const debug = (args: readonly string[]) => kubectl(cp, ['debug', 'ticker', `--image=${image}`, ...args]);
    const added = await debug(['-c', 'look', '--target=main', '--', 'sh', '-c', 'ps; hostname; exit 4']);
    t.equal(added.exitCode, 0, added.all);
    interface Status {
      readonly name: string;
      readonly restartCount: number;
      readonly state: { readonly running?: object; readonly terminated?: { readonly exitCode: number } };
    }
    const statusOf = async (name: string) => {
      const { status } = await getJson<{ status: { ephemeralContainerStatuses?: readonly Status[] } }>(cp, [
        'pod',
        'ticker',
      ]);
      return status.ephemeralContainerStatuses?.find((row) => row.name === name);
    };
    await eventually('the ephemeral container to end', 15_000, async () => {
      return (await statusOf('look'))?.state.terminated?.exitCode === 4;
    });
    t.equal((await statusOf('look'))?.restartCount, 0, 'it is not started again');
    const logs = await kubectlText(cp, ['logs', 'ticker', '-c', 'look']);
    t.match(logs, /tick \$n/, 'it sees the processes of its target');
    t.match(logs, /^ticker$/m, 'it has the host name of the pod');
    t.match(await kubectlText(cp, ['describe', 'pod', 'ticker']), /Ephemeral Containers:\n +look:/);

    const shown = await inTerminal(
      cp,
      `kubectl debug -it ticker --image=${image} -c shell --target=main -- sh; echo "code $?"`,
      [
        { seen: 'pressing enter', type: 'cat /proc/1/root/etc/motd' },
        { seen: 'shop[^ ]*:1', type: 'exit 0' },
      ],
      { env: TERMINAL_ENV, last: 'code' },
    );
    t.match(shown, /shop\S+:1/, 'its shell reads the files of its target');
    const waiting = debug(['-c', 'waits', '--', 'sleep', '60']);
    t.equal((await waiting).exitCode, 0);
    await eventually('it to run', 15_000, async () => (await statusOf('waits'))?.state.running !== undefined);
    t.equal(
      await kubectlText(cp, ['exec', 'ticker', '-c', 'waits', '--', 'cat', '/etc/hostname']),
      'ticker\n',
    );
    const same = await debug(['-c', 'waits', '--', 'true']);
    t.not(same.exitCode, 0, 'a name is given once');
    const removal = await kubectl(cp, [
      'patch',
      'pod',
      'ticker',
      '--subresource=ephemeralcontainers',
      '--type=json',
      '-p',
      '[{"op":"remove","path":"/spec/ephemeralContainers/0"}]',
    ]);
    t.match(removal.stderr, /existing ephemeral containers "look" may not be removed/);
    t.match(await getJson(cp, ['pod', 'ticker']), { status: { phase: 'Running' } });
  });

  await t.test('debug: a copy of a pod, and a node', async (t) => {
    const copied = await kubectl(cp, [
      'debug',
      'ticker',
      '--copy-to=ticker-copy',
      `--image=${image}`,
      '-c',
      'beside',
      '--share-processes',
      '--',
      'sleep',
      '60',
    ]);
    t.equal(copied.exitCode, 0, copied.all);
    await eventually('the copy to run', 20_000, async () => {
      const text = await kubectlText(cp, ['get', 'pod', 'ticker-copy']);
      return /2\/2 +Running/.test(text);
    });
    t.match(await kubectlText(cp, ['exec', 'ticker-copy', '-c', 'beside', '--', 'ps']), /tick \$n/);
    const node = await kubectl(cp, [
      'debug',
      'node/cp',
      `--image=${image}`,
      '--',
      'cat',
      '/host/etc/kubernetes/kubelet.conf',
    ]);
    t.equal(node.exitCode, 0, node.all);
    const name = /node-debugger-\S+/.exec(node.all)?.[0] ?? '';
    const logs = await eventually(
      'the node debugger to end',
      20_000,
      async () => (await kubectl(cp, ['logs', name])).stdout || undefined,
    );
    t.match(logs, /kind: Config/);
    await kubectlText(cp, [
      'delete',
      'pod',
      'ticker',
      'reader',
      'terminal',
      'ticker-copy',
      name,
      '--grace-period=1',
    ]);
  });
}
