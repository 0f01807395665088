import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { type CriClient, createCriClient } from '../../runtime/cri/client.ts';
import { addSingleLayerImage } from '../../runtime/image/builtin-images.ts';
import { saveImages } from '../../runtime/image/save.ts';
import { openImageStore } from '../../runtime/image/store.ts';
import { addBusybox, removeCgroups } from './fixture.ts';

const CONTAINERD = '/usr/bin/containerd';
const CTR = '/usr/bin/ctr';
const PLUGINS = '/usr/lib/cni';
const PAUSE = 'docker.io/test/pause:1';
/** What has to be installed. */
export const CONTAINERD_PROGRAMS = [CONTAINERD, CTR, '/usr/sbin/runc', join(PLUGINS, 'bridge')];

/** A CRI runtime under test. */
export interface CriPeer {
  readonly client: CriClient;
  readonly cgroupParent: string;
  /** For logs. */
  readonly directory: string;
  close(): Promise<void>;
}

/** Debian's containerd with runc, a bridge, and the image "busybox"; only in a network and a /run of the test's own. */
export async function startContainerd(): Promise<CriPeer> {
  const directory = mkdtempSync('/var/lib/containerd-');
  const socket = join(directory, 'c.sock');
  writeFiles(directory, socket);
  const server = spawn(CONTAINERD, ['--config', join(directory, 'config.toml')], {
    stdio: ['ignore', 'ignore', process.env['TKADM_TEST_LOG'] ? 'inherit' : 'ignore'],
  });
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const client = createCriClient(socket);
  await waitFor(async () => client.version({}).catch(() => undefined), {
    subject: 'containerd',
    timeoutMs: 60_000,
    intervalMs: 20,
  });
  const archive = join(directory, 'images.tar');
  await writeArchive(directory, archive);
  execFileSync(CTR, ['--address', socket, '-n', 'k8s.io', 'images', 'import', archive], { stdio: 'ignore' });
  const cgroupParent = `/tkadm-containerd-${randomBytes(4).toString('hex')}`;
  return {
    client,
    cgroupParent,
    directory,
    async close() {
      for (const { id } of (await client.listPodSandbox({})).items) {
        await client.stopPodSandbox({ podSandboxId: id });
        await client.removePodSandbox({ podSandboxId: id });
      }
      client.close();
      server.kill('SIGTERM');
      await ended;
      removeCgroups(cgroupParent);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function writeFiles(directory: string, socket: string): void {
  const network = {
    cniVersion: '1.0.0',
    name: 'peer',
    plugins: [
      {
        type: 'bridge',
        bridge: 'peer0',
        isGateway: true,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: '10.97.0.0/24' }]],
          dataDir: join(directory, 'ipam'),
        },
      },
    ],
  };
  mkdirSync(join(directory, 'net.d'));
  writeFileSync(join(directory, 'net.d/10.conflist'), JSON.stringify(network));
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  const lines = [
    'version = 2',
    `root = "${directory}/root"`,
    `state = "${directory}/state"`,
    `[grpc]\naddress = "${socket}"`,
    `[ttrpc]\naddress = "${directory}/t.sock"`,
    // Without CAP_SYS_RESOURCE a score cannot be lowered.
    `[${cri}]\nsandbox_image = "${PAUSE}"\nrestrict_oom_score_adj = true`,
    `[${cri}.cni]\nbin_dir = "${PLUGINS}"\nconf_dir = "${directory}/net.d"`,
    `[${cri}.containerd]\nsnapshotter = "overlayfs"`,
  ];
  writeFileSync(join(directory, 'config.toml'), lines.join('\n'));
}

/** Saves "busybox" and a sandbox image that waits. */
async function writeArchive(directory: string, path: string): Promise<void> {
  const store = await openImageStore({ root: join(directory, 'store'), log: SILENT_LOGGER });
  await addBusybox(store, directory);
  const tar = execFileSync('tar', ['-C', join(directory, 'busybox'), '-c', '.'], { maxBuffer: 1e9 });
  await addSingleLayerImage(store, tar, {
    architecture: 'amd64',
    names: [PAUSE],
    config: { Entrypoint: ['/bin/sleep', '1000000'] },
  });
  await writeFile(path, await saveImages(store, ['busybox', PAUSE]));
}
