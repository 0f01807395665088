import { addToBridge, checkOnBridge, deleteFromBridge } from '../network/bridge.ts';
import type { BridgeConfig } from '../network/cni-types.ts';
import type { InProcessCniPlugin } from './cni-exec.ts';

/** tkadm's own CNI plugin without a program start for each pod; the same code as `tkadm-cni`. */
export const BRIDGE_PLUGIN: InProcessCniPlugin = {
  type: 'tkadm-bridge',
  async run({ command, containerId, netns, ifName, config }) {
    const bridge = config as unknown as BridgeConfig;
    const args = { containerId, netns: netns === '' ? undefined : netns, interfaceName: ifName };
    if (command === 'ADD') return { ...(await addToBridge(bridge, args)) };
    await (command === 'CHECK' ? checkOnBridge : deleteFromBridge)(bridge, args);
    return undefined;
  },
};
