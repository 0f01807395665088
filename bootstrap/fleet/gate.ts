/** Something that one pipeline makes and the others wait for. */
export interface Gate<T> {
  readonly opened: Promise<T>;
  readonly open: (value: T) => void;
  readonly fail: (error: unknown) => void;
}

export function createGate<T>(): Gate<T> {
  let open: Gate<T>['open'] = () => {};
  let fail: Gate<T>['fail'] = () => {};
  const opened = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  // Whoever waits is told; nobody may be waiting.
  opened.catch(() => {});
  return { opened, open, fail };
}
