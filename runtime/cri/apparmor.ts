import type { LinuxContainerSecurityContext } from './messages/linux.ts';

const LOCAL = 'localhost/';
/** How CRI's older field `apparmor_profile` spells the runtime's own profile. */
const OWN = 'runtime/default';

/** What a container asks of AppArmor: a profile that the node has loaded, the runtime's own, or nothing. */
export type AppArmorWish = { readonly profile: string } | 'runtime-default' | undefined;

/** Reads `apparmor`, or the older `apparmor_profile`: "localhost/NAME", "runtime/default", "unconfined". */
export function readAppArmor(security: LinuxContainerSecurityContext | undefined): AppArmorWish {
  const { apparmor, apparmorProfile: text = '' } = security ?? {};
  if (apparmor !== undefined) {
    if (apparmor.profileType === 'Localhost') return { profile: stripLocal(apparmor.localhostRef) };
    return apparmor.profileType === 'RuntimeDefault' ? 'runtime-default' : undefined;
  }
  if (text.startsWith(LOCAL)) return { profile: stripLocal(text) };
  return text === OWN ? 'runtime-default' : undefined;
}

function stripLocal(name: string): string {
  return name.startsWith(LOCAL) ? name.slice(LOCAL.length) : name;
}
