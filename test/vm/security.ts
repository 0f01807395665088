import { type CommandHost, eventually, getJson, kubectl } from '../hosts/cluster.ts';
import type { ReachableMachine } from './machine.ts';
import { SELINUX_POLICY } from './recipe.ts';

/** An AppArmor profile under which everything goes but reading /etc/motd. */
export const PROFILE = 'machine-test';
const PROFILE_TEXT = `profile ${PROFILE} flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  signal,
  ptrace,
  mount,
  umount,
  deny /etc/motd r,
}
`;

/** What a confined container prints: its profile, then what it may not read. */
export const SHOW_PROFILE = 'cat /proc/self/attr/current; cat /etc/motd';
export const CONFINED = `${PROFILE} (enforce)\n`;
export const DENIED = /can't open '?\/etc\/motd'?: Permission denied/;

/** A label that the policy of the recipe knows, and an unconfined one that it does not. */
export const LABEL = 'system_u:system_r:container_t:s0:c1,c2';
export const UNKNOWN_LABEL = 'system_u:system_r:nobody_t:s0';

/** Swap, and a module that the kernel may not load by itself: tkadm puts both right, and reset takes that back. */
export const HINDRANCES = `dd if=/dev/zero of=/swapfile bs=1M count=16 status=none
chmod 600 /swapfile
mkswap --quiet /swapfile
swapon --priority 5 /swapfile
echo blacklist veth > /etc/modprobe.d/machine-test.conf`;

/** Gives the kernel the profile. */
export async function loadProfile(machine: ReachableMachine): Promise<void> {
  await machine.shell('apparmor_parser --replace --skip-cache', { input: PROFILE_TEXT });
}

/** Gives the kernel the policy, which stays permissive and is gone with the next boot. */
export async function loadPolicy(machine: ReachableMachine): Promise<void> {
  await machine.shell(
    `[ -e /sys/fs/selinux/load ] || mount -t selinuxfs selinuxfs /sys/fs/selinux
dd if=${SELINUX_POLICY} of=/sys/fs/selinux/load bs=1M status=none`,
  );
}

/** A pod under a profile of the second machine. */
export function formatConfinedPod(name: string, image: string, profile: string): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  nodeName: two
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  securityContext: {appArmorProfile: {type: Localhost, localhostProfile: ${profile}}}
  containers:
    - name: main
      image: ${image}
      command: [sh, -c, ${JSON.stringify(`${SHOW_PROFILE}; exec sleep 1000`)}]
`;
}

/** What a pod has printed once it has printed something that matches. */
export function waitForLog(administrator: CommandHost, name: string, pattern: RegExp): Promise<string> {
  return eventually(`${pattern} in the log of pod ${name}`, 240_000, async () => {
    const { all } = await kubectl(administrator, ['logs', name]);
    return pattern.test(all) && all;
  });
}

/** Why the first container of a pod waits, once there is a message that matches. */
export function waitForMessage(administrator: CommandHost, name: string, pattern: RegExp): Promise<string> {
  interface Waiting {
    readonly status: {
      readonly containerStatuses?: readonly { readonly state: { readonly waiting?: { message?: string } } }[];
    };
  }
  return eventually(`${pattern} of pod ${name}`, 240_000, async () => {
    const { status } = await getJson<Waiting>(administrator, ['pod', name]);
    const message = status.containerStatuses?.[0]?.state.waiting?.message ?? '';
    return pattern.test(message) && message;
  });
}
