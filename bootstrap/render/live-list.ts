import { Listr, type ListrTask } from 'listr2';

/** Tasks that are shown side by side, each until it is settled; a task that fails ends no other. */
export function createLiveList(tasks: readonly ListrTask[]): Listr {
  return new Listr([...tasks], {
    concurrent: true,
    exitOnError: false,
    collectErrors: false,
    // The command line ends a run by its own signal, with its own exit code.
    registerSignalListeners: false,
    rendererOptions: { collapseErrors: true, showErrorMessage: false },
  } as never);
}
