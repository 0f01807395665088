import { Command } from 'commander';
import t from 'tap';
import type { CliContext } from '../../../bootstrap/commands/context.ts';
import { addPhaseCommands, PHASED_COMMANDS, splitPhaseNames } from '../../../bootstrap/commands/phases.ts';
import { INIT_PHASES } from '../../../bootstrap/phases/init.ts';
import { joinPhases } from '../../../bootstrap/phases/join.ts';
import { RESET_PHASES } from '../../../bootstrap/phases/reset.ts';
import { UPGRADE_APPLY_PHASES, UPGRADE_NODE_PHASES } from '../../../bootstrap/upgrade/phases.ts';
import { groupOf } from '../../../bootstrap/workflow/phase.ts';

/** Every phase and part of kubeadm 1.36's commands, in its order. */
const KUBEADM_PHASES: Readonly<Record<string, readonly string[]>> = {
  init: [
    'preflight',
    ...[
      'ca',
      'apiserver',
      'apiserver-kubelet-client',
      'front-proxy-ca',
      'front-proxy-client',
      'etcd-ca',
      'etcd-server',
      'etcd-peer',
      'etcd-healthcheck-client',
      'apiserver-etcd-client',
      'sa',
    ].map((name) => `certs/${name}`),
    ...['admin', 'super-admin', 'kubelet', 'controller-manager', 'scheduler'].map(
      (name) => `kubeconfig/${name}`,
    ),
    'etcd/local',
    'control-plane/apiserver',
    'control-plane/controller-manager',
    'control-plane/scheduler',
    'kubelet-start',
    'wait-control-plane',
    'upload-config/kubeadm',
    'upload-config/kubelet',
    'upload-certs',
    'mark-control-plane',
    'bootstrap-token',
    'kubelet-finalize/enable-client-cert-rotation',
    'addon/coredns',
    'addon/kube-proxy',
    'show-join-command',
  ],
  join: [
    'preflight',
    'control-plane-prepare/download-certs',
    'control-plane-prepare/certs',
    'control-plane-prepare/kubeconfig',
    'control-plane-prepare/control-plane',
    'check-etcd',
    'kubelet-start',
    'etcd-join',
    'kubelet-wait-bootstrap',
    'control-plane-join/mark-control-plane',
    'wait-control-plane',
  ],
  reset: ['preflight', 'remove-etcd-member'],
  'upgrade apply': [
    'preflight',
    'control-plane',
    'upload-config/kubeadm',
    'upload-config/kubelet',
    'kubeconfig',
    'kubelet-config',
    'bootstrap-token',
    'addon/coredns',
    'addon/kube-proxy',
  ],
  'upgrade node': [
    'preflight',
    'control-plane',
    'kubeconfig',
    'kubelet-config',
    'addon/coredns',
    'addon/kube-proxy',
  ],
};

/** Arguments of a join without --control-plane. */
const WORKER = [
  '127.0.0.1:1',
  ...['--token', 'abcdef.0123456789abcdef', '--discovery-token-unsafe-skip-ca-verification'],
];

const PHASES = {
  init: INIT_PHASES,
  join: joinPhases({}),
  reset: RESET_PHASES,
  'upgrade apply': UPGRADE_APPLY_PHASES,
  'upgrade node': UPGRADE_NODE_PHASES,
} as const;

function buildProgram(write: (text: string) => void = () => {}): Command {
  const program = new Command('tkadm').exitOverride().configureOutput({ writeOut: write, writeErr: write });
  program.command('init').option('--config <file>').option('--token <token>');
  program.command('join [addresses...]');
  program.command('reset');
  const upgrade = program.command('upgrade');
  upgrade.command('apply [version]');
  upgrade.command('node');
  addPhaseCommands(program, { write } as CliContext);
  return program;
}

function find(program: Command, path: readonly string[]): Command | undefined {
  return path.reduce<Command | undefined>(
    (command, name) => command?.commands.find((child) => child.name() === name),
    program,
  );
}

for (const { name, rows } of PHASED_COMMANDS) {
  t.test(`${name}: the table names every phase, in order`, (t) => {
    const names = rows.map((row) => row.name);
    t.equal(new Set(names).size, names.length, 'unique');
    const phases = PHASES[name as 'init'].map((phase) => phase.name);
    // The phase of uploaded certificates is the one that another folder may bring.
    t.same(
      names.filter((row) => row !== 'upload-certs'),
      phases.filter((row) => row !== 'upload-certs'),
    );
    t.same(
      names.filter((row) => KUBEADM_PHASES[name]!.includes(row)),
      KUBEADM_PHASES[name],
    );
    t.end();
  });

  t.test(`${name}: every phase is a command with its own flags and help`, (t) => {
    const program = buildProgram();
    for (const row of rows) {
      const command = find(program, [...name.split(' '), 'phase', ...row.name.split('/')]);
      t.ok(command, row.name);
      const flags = command!.options.map((option) => option.long).sort();
      const expected = ['config', 'dry-run', 'output', ...row.flags].map((flag) => `--${flag}`);
      t.same(flags, [...new Set(expected)].sort(), row.name);
      t.match(command!.helpInformation(), row.description.slice(0, 20));
      if (row.name.includes('/')) {
        const all = find(program, [...name.split(' '), 'phase', groupOf(row.name), 'all']);
        for (const option of command!.options) t.ok(all?.options.some((other) => other.long === option.long));
      }
    }
    t.end();
  });
}

t.test('flags are those that a phase has, and a name that is none is a usage error', async (t) => {
  const cases: readonly [
    readonly string[],
    { readonly message?: RegExp; readonly code?: string; readonly hint?: RegExp },
  ][] = [
    [['init', 'phase', 'certs', 'ca', '--token', 'x'], { message: /unknown option '--token'/ }],
    [['init', 'phase', 'certz', '--config', 'x'], { code: 'PHASE_UNKNOWN', hint: /"certs"/ }],
    [['init', 'phase', 'certs', 'cb'], { code: 'PHASE_UNKNOWN', message: /valid ones are certs\/ca/ }],
    [['join', 'phase', 'control-plane-prepare', 'certs', ...WORKER], { code: 'UNSUPPORTED' }],
    [['join', 'phase', 'etcd-join', ...WORKER], { code: 'UNSUPPORTED', message: /"etcd-join".*worker/ }],
    [['reset', 'phase', 'cleanup'], { code: 'PHASE_UNKNOWN' }],
  ];
  for (const [argv, expected] of cases) {
    const error: unknown = await buildProgram()
      .parseAsync(argv, { from: 'user' })
      .catch((thrown: unknown) => thrown);
    t.match(error, expected, argv.join(' '));
  }
});

t.test('phase without a name lists the phases', async (t) => {
  let text = '';
  const program = buildProgram((part) => {
    text += part;
  });
  await program.parseAsync(['init', 'phase', '-o', 'json'], { from: 'user' });
  const { phases } = JSON.parse(text);
  t.match(phases[0], { name: 'preflight', description: /\S/, flags: ['cri-socket'] });
});

t.test('splitPhaseNames() takes the form with a slash, and leaves paths alone', (t) => {
  const cases: readonly [string, string][] = [
    ['init phase certs/ca --cert-dir certs/sa', 'init phase certs ca --cert-dir certs/sa'],
    ['init phase certs/all', 'init phase certs all'],
    ['init phase preflight/all', 'init phase preflight/all'],
    ['init --config a/b', 'init --config a/b'],
    ['init phase --config /certs/ca addon/coredns', 'init phase --config /certs/ca addon coredns'],
  ];
  for (const [text, expected] of cases) t.same(splitPhaseNames(text.split(' ')), expected.split(' '));
  t.end();
});
