import { TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';
import { isBundledImage, listImages } from '../../templates/images.ts';
import { ANY_MACHINE } from '../config/defaults.ts';
import { loadConfiguration } from '../config/load.ts';
import type { InitConfig } from '../config/types.ts';
import { type CliContext, readInput } from './context.ts';
import { writeData } from './output.ts';
import { collectOverrides } from './overrides.ts';

export interface ImagesOptions {
  readonly config?: string;
  readonly output: string;
}

/** kubeadm's output API (output.kubeadm.k8s.io/v1alpha3). */
function buildImages(images: readonly string[]) {
  return { apiVersion: 'output.kubeadm.k8s.io/v1alpha3', kind: 'Images', images };
}

/** `tkadm config images list`: one image a line, in kubeadm's order. */
export async function runImagesList(context: CliContext, options: ImagesOptions): Promise<void> {
  const images = listImages(await loadImagesConfig(context, options));
  writeData(context, options.output, buildImages(images), images.map((image) => `${image}\n`).join(''));
}

/** How often a pull is tried, and the pause between. */
const PULL_TRIES = 5;
const PULL_PAUSE_MS = 500;

/** `tkadm config images pull`: over CRI. The embedded programs' images come with the node bundle. */
export async function runImagesPull(context: CliContext, options: ImagesOptions): Promise<void> {
  const config = await loadImagesConfig(context, options);
  const tell = (text: string) => options.output === 'text' && context.write(`${text}\n`);
  const images = listImages(config);
  const bundled = images.filter((image) => isBundledImage(image, config));
  for (const image of bundled) tell(`In the node bundle: ${image}`);
  const remote = images.filter((image) => !bundled.includes(image));
  if (remote.length > 0) await pullAll(context, config.nodeRegistration.criSocket, remote, tell);
  if (options.output !== 'text') writeData(context, options.output, buildImages(images), '');
}

async function loadImagesConfig(context: CliContext, options: ImagesOptions): Promise<InitConfig> {
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: options.config === undefined ? undefined : await readInput(context, options.config),
    path: options.config,
    overrides: collectOverrides('InitConfiguration', options as unknown as Record<string, unknown>),
    defaultsFrom: ANY_MACHINE,
    isStrict: false,
  });
  for (const warning of warnings) context.writeError(`Warning: ${warning}\n`);
  return config;
}

async function pullAll(
  context: CliContext,
  socket: string,
  images: readonly string[],
  tell: (text: string) => void,
): Promise<void> {
  const path = socket.replace(/^unix:\/\//, '');
  if (!(await context.fileExists(path))) {
    throw new TkadmError(
      'IMAGE_RUNTIME_UNREACHABLE',
      `Cannot pull images: there is no CRI socket at "${path}"`,
      {
        hint: 'Start the container runtime, or name its socket: --cri-socket unix:///run/containerd/containerd.sock',
      },
    );
  }
  const { createCriClient } = await import('../../runtime/cri/client.ts');
  const client = createCriClient(path);
  try {
    for (const image of images) {
      await pullWithRetries(
        () => client.pullImage({ image: { image } }, { signal: context.signal }),
        context,
      );
      tell(`Pulled ${image}`);
    }
  } finally {
    client.close();
  }
}

async function pullWithRetries(pull: () => Promise<unknown>, { signal }: CliContext): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await pull();
      return;
    } catch (error) {
      if (tries === PULL_TRIES || signal.aborted) throw error;
      await sleep(PULL_PAUSE_MS, signal);
    }
  }
}
