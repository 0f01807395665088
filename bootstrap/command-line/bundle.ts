import type { CommandRow } from './command.ts';
import { FLAGS } from './flags.ts';

const load = () => import('../commands/bundle.ts');

/** The node bundle, beforehand. */
export const BUNDLE_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'bundle',
    description: 'Lay out the node bundle; join over SSH sends it to machines of its architecture',
    flags: [
      ['--arch <architecture>', "for which machines (default: this one's)", { values: ['x64', 'arm64'] }],
      ['--node-binary <file>', 'Node.js of the other architecture (default: an npm package)'],
      ['--packages <dir>', 'take npm packages from here, as `npm pack` wrote them (default: ask npm)'],
      FLAGS.output,
    ],
    run: async (context, options) => (await load()).runBundle(context, options),
    commands: [
      {
        usage: 'complete',
        isHidden: true,
        description: "Add this machine's part to the bundle that the command runs from",
        run: async (context) => (await load()).runBundleComplete(context),
      },
    ],
  },
];
