import { runProgram } from '../component/main.ts';
import { FLAGS } from './flags.ts';
import { ControllerManager } from './manager.ts';
import { followSettings, loadSettings } from './settings.ts';
import { selectControllers } from './table.ts';

runProgram(FLAGS, {
  name: 'kube-controller-manager',
  async createWork({ flags, signal, now, log }) {
    const settings = await loadSettings(flags);
    const manager = new ControllerManager({
      rows: selectControllers(flags.controllers),
      settings,
      usesServiceAccounts: flags['use-service-account-credentials'],
      now,
      log,
    });
    followSettings(settings, { log: log.child('credentials'), signal, onChange: () => manager.resync() });
    return {
      prepare: (client, stop) => manager.follow(client, stop),
      lead: (client, stop) => manager.run(client, stop),
    };
  },
});
