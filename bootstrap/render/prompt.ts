import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

interface Terminal {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
}

/** Asks at the terminal; a secret is not shown while it is typed. Undefined at the end of input or on Ctrl-C. */
export function askAtTerminal(
  { input, output }: Terminal,
  question: string,
  { isSecret }: { readonly isSecret: boolean },
): Promise<string | undefined> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  output.write(question);
  const reader = createInterface({
    input,
    output: isSecret ? silent : output,
    terminal: true,
    historySize: 0,
  });
  return new Promise((resolve) => {
    const finish = (answer: string | undefined) => {
      reader.close();
      if (isSecret || answer === undefined) output.write('\n');
      resolve(answer);
    };
    reader.once('line', finish);
    reader.once('SIGINT', () => finish(undefined));
    reader.once('close', () => resolve(undefined));
  });
}
