import { spawn } from 'node:child_process';
import { TkadmError } from '../base/errors.ts';

/** Runs a command with text on standard input; returns its output. @throws NETWORK_COMMAND with its stderr. */
export function runCommand(argv: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const [command = '', ...args] = argv;
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.stdin.on('error', () => {});
    child.on('error', (error) => reject(failure(argv, error.message)));
    child.on('close', (code) =>
      code === 0 ? resolve(stdout) : reject(failure(argv, stderr.trim() || `exit code ${code}`)),
    );
    child.stdin.end(input);
  });
}

function failure(argv: readonly string[], state: string): TkadmError {
  return new TkadmError('NETWORK_COMMAND', `Cannot run "${argv.join(' ')}": ${state}`);
}
