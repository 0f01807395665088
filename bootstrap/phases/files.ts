import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { type PatchSet, readPatches } from '../../templates/patches.ts';

/** The cluster's CA certificates. @throws PKI_MISSING when the file is not there. */
export async function readCaBundle(host: Pick<Host, 'readFile'>, certificatesDir: string): Promise<string> {
  const path = `${certificatesDir}/ca.crt`;
  const text = await host.readFile(path);
  if (text === undefined) {
    throw new TkadmError('FILE_READ', `Cannot read "${path}": it is not there`, {
      hint: 'tkadm init phase certs',
    });
  }
  return text;
}

/** The user's patches, read once; a file whose name says no target is told of. */
export function createPatchReader(
  host: Host,
  directory: string | undefined,
  warn: (message: string) => void,
): () => Promise<PatchSet> {
  let reading: Promise<PatchSet> | undefined;
  const read = async () => {
    const set = await readPatches(host, directory);
    for (const path of set.skipped)
      warn(`"${path}" is no patch: its name is not target[suffix][+type].json|yaml`);
    return set;
  };
  return () => {
    reading ??= read();
    return reading;
  };
}
