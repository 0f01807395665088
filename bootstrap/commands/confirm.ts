import { createInterface } from 'node:readline/promises';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { CliContext } from './context.ts';

/** Asks before a change that cannot be taken back. @throws USAGE without a terminal, and for any answer but y */
export async function confirm(
  context: Pick<CliContext, 'isInputTerminal' | 'stdin' | 'write'>,
  { verb, question, hint }: { readonly verb: string; readonly question: string; readonly hint: string },
): Promise<void> {
  if (!context.isInputTerminal) {
    throw new TkadmError('USAGE', `Cannot ${verb} without an answer: standard input is no terminal`, {
      hint,
    });
  }
  const prompt = createInterface({
    input: context.stdin as never,
    output: { write: context.write } as never,
  });
  const answer = await prompt.question(`${question} [y/N] `);
  prompt.close();
  if (!/^y(es)?$/i.test(answer.trim())) {
    throw new TkadmError('USAGE', `Cannot ${verb}: the answer was not "y"`);
  }
}
