/** What a task gives, which is run when it is first asked for. */
export function once<T>(task: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= task();
    return running;
  };
}
