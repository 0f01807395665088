import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { archiveName, type ForeignPart, packCommand } from './parts.ts';

/** Asks npm, with the settings that it has for its registry, for archives. @throws BUNDLE_BUILD */
export async function fetchArchives(
  host: Host,
  parts: readonly ForeignPart[],
  folder: string,
): Promise<void> {
  const { exitCode, stderr } = await host.run(packCommand(parts, folder));
  if (exitCode === 0) return;
  const state = stderr.trim().split('\n').at(-1) ?? `exit code ${exitCode}`;
  throw new TkadmError(
    'BUNDLE_BUILD',
    `Cannot fetch ${parts.map(({ name }) => `"${name}"`).join(', ')} by npm: ${state}`,
    { hint: packHint(parts, 'DIR') },
  );
}

/**
 * Unpacks archives, each into the folder of its package's name, after their digests were checked.
 * @throws BUNDLE_BUILD when one is missing or is not what it should be.
 */
export async function unpackArchives(
  host: Host,
  parts: readonly ForeignPart[],
  { archives, target }: { readonly archives: string; readonly target: string },
): Promise<void> {
  const missing: ForeignPart[] = [];
  for (const part of parts) {
    const path = join(archives, archiveName(part));
    if (
      !(await access(path).then(
        () => true,
        () => false,
      ))
    )
      missing.push(part);
  }
  if (missing.length > 0) {
    const names = missing.map((part) => `"${archiveName(part)}"`).join(', ');
    throw new TkadmError('BUNDLE_BUILD', `Cannot build the node bundle: no ${names} in "${archives}"`, {
      hint: packHint(missing, archives),
    });
  }
  for (const part of parts)
    await unpackArchive(host, part, { path: join(archives, archiveName(part)), target });
}

async function unpackArchive(
  host: Host,
  part: ForeignPart,
  { path, target }: { readonly path: string; readonly target: string },
): Promise<void> {
  const hash = createHash('sha512');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  if (`sha512-${hash.digest('base64')}` !== part.integrity) {
    throw new TkadmError(
      'BUNDLE_BUILD',
      `Cannot use "${path}": its digest is not that of ${part.name}@${part.version}`,
      {
        hint: packHint([part], 'DIR'),
      },
    );
  }
  const folder = join(target, part.name);
  await mkdir(folder, { recursive: true });
  const wanted = part.role === 'node' ? ['package/bin/node'] : [];
  const argv = ['tar', '-xzf', path, '-C', folder, '--strip-components=1', '--no-same-owner', ...wanted];
  const { exitCode, stderr } = await host.run(argv);
  if (exitCode === 0) return;
  throw new TkadmError(
    'BUNDLE_BUILD',
    `Cannot unpack "${path}": ${stderr.trim() || `exit code ${exitCode}`}`,
  );
}

/** The commands for a machine that reaches the registry. */
function packHint(parts: readonly ForeignPart[], folder: string): string {
  const architecture = parts[0]?.architecture ?? '';
  return `${packCommand(parts, folder).join(' ')} where npm reaches a registry, then: tkadm bundle --arch ${architecture} --packages ${folder}`;
}
