import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { CommandResult } from '../../runtime/base/host.ts';

/** Debian's packages of a machine that a bundle is completed on. */
const PACKAGES = 'dash,coreutils,bash,libc-bin,libstdc++6,nftables,iproute2,tar,sed,grep,ca-certificates';

/** Header of a program of arm64 and the bits of it that count: the kernel's Documentation/admin-guide/binfmt-misc.rst. */
const REGISTRATION =
  ':arm64:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00' +
  ':\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff' +
  ':/usr/bin/qemu-aarch64-static:F';

/** Namespaces with a binfmt_misc of their own (Linux 6.7), so that the computer itself stays as it is. */
const ENTER = `set -e
root=$1; shift
mount -t proc proc "$root/proc"
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf %s '${REGISTRATION}' > /proc/sys/fs/binfmt_misc/register
exec chroot "$root" "$@"`;

export interface EmulatedMachine {
  readonly root: string;
  readonly name: string;
  readonly run: (argv: readonly string[]) => Promise<CommandResult>;
  readonly close: () => Promise<void>;
}

/** A Debian for arm64 in a folder, whose programs QEMU's user emulation runs. */
export async function makeEmulatedMachine(suite: string): Promise<EmulatedMachine> {
  const root = await mkdtemp('/var/tmp/tkadm-arm64-');
  await chmod(root, 0o755);
  const close = () => rm(root, { recursive: true, force: true });
  try {
    const tar = `${root}.tar`;
    const made = [
      '--quiet',
      '--architectures=arm64',
      '--variant=extract',
      '--mode=root',
      `--include=${PACKAGES}`,
    ];
    await execa('setpriv', ['--pdeathsig', 'TERM', 'mmdebstrap', ...made, suite, tar], { timeout: 300_000 });
    await execa('tar', ['-xf', tar, '-C', root]).finally(() => rm(tar));
    await mkdir(join(root, 'root'), { recursive: true });
    // What the package's script would make of its certificates.
    await writeFile(join(root, 'etc/ssl/certs/ca-certificates.crt'), '');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    root,
    name: 'arm64',
    async run(argv) {
      const namespaces = ['--user', '--map-root-user', '--mount', '--pid', '--fork', '--kill-child'];
      const result = await execa('unshare', [...namespaces, 'sh', '-c', ENTER, 'sh', root, ...argv], {
        reject: false,
        stdin: 'ignore',
        timeout: 300_000,
      });
      return { stdout: result.stdout, stderr: result.stderr, exitCode: result.exitCode ?? -1 };
    },
    close,
  };
}
