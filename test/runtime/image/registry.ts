import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const REGISTRY_PROGRAM = '/usr/bin/docker-registry';

/** Why tests with a registry cannot run here; false when they can. */
export const registrySkip: string | false = existsSync(REGISTRY_PROGRAM) ? false : 'needs docker-registry';

export interface TestRegistry {
  /** "127.0.0.1:PORT" */
  readonly host: string;
  close(): Promise<void>;
}

export interface TestRegistryOptions {
  readonly directory: string;
  /** Content of an htpasswd file, bcrypt: Basic authentication. */
  readonly htpasswd?: string;
}

/** Debian's registry on a port of its own, its files in `directory`. */
export async function startRegistry({ directory, htpasswd }: TestRegistryOptions): Promise<TestRegistry> {
  const host = `127.0.0.1:${await freePort()}`;
  mkdirSync(directory, { recursive: true });
  const config: Record<string, unknown> = {
    version: '0.1',
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: join(directory, 'data') }, delete: { enabled: true } },
    http: { addr: host },
  };
  if (htpasswd !== undefined) {
    writeFileSync(join(directory, 'htpasswd'), htpasswd);
    config['auth'] = { htpasswd: { realm: 'test', path: join(directory, 'htpasswd') } };
  }
  // YAML has JSON as a part.
  writeFileSync(join(directory, 'config.yml'), JSON.stringify(config));
  const child = spawn(REGISTRY_PROGRAM, ['serve', join(directory, 'config.yml')], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const close = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  for (let attempt = 0; ; attempt += 1) {
    const response = await fetch(`http://${host}/v2/`).catch(() => undefined);
    if (response) return { host, close };
    if (attempt > 100 || child.exitCode !== null) {
      await close();
      throw new Error('the registry did not start');
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A port of the loopback on which nothing listens. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

/** True when skopeo is there, to write images in the forms of others. */
export function hasSkopeo(): boolean {
  return existsSync('/usr/bin/skopeo');
}

/** `skopeo copy`, without policy and TLS. */
export function skopeoCopy(source: string, target: string, flags: readonly string[] = []): void {
  const fixed = ['--insecure-policy', 'copy', '--src-tls-verify=false', '--dest-tls-verify=false', '--quiet'];
  execFileSync('skopeo', [...fixed, ...flags, source, target], { stdio: ['ignore', 'ignore', 'pipe'] });
}
