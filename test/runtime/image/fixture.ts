import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { callImages } from '../../../runtime/cri/image-client.ts';
import type { BuildRequest, ImageSummary } from '../../../runtime/cri/image-messages.ts';
import { type CriFixture, openCriFixture, removeCgroups } from '../../cri/fixture.ts';

export interface ImageFixture {
  readonly cri: CriFixture;
  readonly socketPath: string;
  /** For the test's own files. */
  readonly directory: string;
  readonly cgroupParent: string;
  /** Writes files below a new directory, whose path it returns. */
  writeContext(files: Readonly<Record<string, string>>): string;
  build(contextDir: string, changes?: Partial<BuildRequest>): Promise<BuildResult>;
  close(): Promise<void>;
}

export interface BuildResult {
  readonly image: ImageSummary;
  readonly lines: readonly string[];
}

/** A runtime with the image socket, and the image "busybox" (its user is "web"). */
export async function openImageFixture(): Promise<ImageFixture> {
  const directory = mkdtempSync('/tmp/tkadm-image-');
  const socketPath = join(directory, 'images.sock');
  const cgroupParent = `/tkadm-image-${randomBytes(4).toString('hex')}`;
  const cri = await openCriFixture({
    imageSocketPath: socketPath,
    buildCgroupParent: cgroupParent,
    registriesPath: join(directory, 'registries.json'),
  });
  return {
    cri,
    socketPath,
    directory,
    cgroupParent,
    writeContext(files) {
      const context = mkdtempSync(join(directory, 'context-'));
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(dirname(join(context, name)), { recursive: true });
        writeFileSync(join(context, name), content);
      }
      return context;
    },
    async build(contextDir, changes = {}) {
      const lines: string[] = [];
      const body: BuildRequest = {
        contextDir,
        dockerfile: join(contextDir, 'Dockerfile'),
        tags: ['test/built:1'],
        buildArgs: {},
        usesCache: true,
        ...changes,
      };
      const image = await callImages(socketPath, 'build', { body, onProgress: (line) => lines.push(line) });
      return { image, lines };
    },
    async close() {
      await cri.close();
      removeCgroups(cgroupParent);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
