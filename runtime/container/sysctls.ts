import type { OciNamespaceType, OciSpec } from './oci-spec.ts';

/** Kernel parameters that each namespace has of its own, namespaces(7); a name that ends in "." stands for all below. */
const OWN_SYSCTLS: readonly { readonly type: OciNamespaceType; readonly names: readonly string[] }[] = [
  {
    type: 'ipc',
    names: [
      ...['msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni', 'shm_rmid_forced'].map(
        (name) => `kernel.${name}`,
      ),
      'fs.mqueue.',
    ],
  },
  { type: 'network', names: ['net.'] },
  { type: 'uts', names: ['kernel.domainname'] },
];

/** What speaks against the first parameter that would be changed for the whole machine; undefined when none would. */
export function findSharedSysctl({ linux }: OciSpec): string | undefined {
  for (const name of Object.keys(linux?.sysctl ?? {})) {
    const dotted = name.replaceAll('/', '.');
    const row = OWN_SYSCTLS.find(({ names }) =>
      names.some((own) => (own.endsWith('.') ? dotted.startsWith(own) : dotted === own)),
    );
    if (row === undefined) return `sysctl "${name}" is not one of a namespace`;
    if (!linux?.namespaces?.some(({ type }) => type === row.type))
      return `sysctl "${name}" needs a ${row.type} namespace`;
  }
  return undefined;
}
