// Runs the public suites for OCI runtimes: docs/testing.md. Ends with 1 for a failure that exceptions.ts does not name.

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { prepareSuites } from './build.ts';
import { EXCEPTIONS, type SuiteException } from './exceptions.ts';
import { removeCgroups } from './leftovers.ts';
import { formatTable, type TestResult } from './results.ts';
import { type Runtime, runSuites } from './run.ts';
import { findMissingPackages } from './sources.ts';

const OURS = 'tkadm-oci';
const RUNTIMES: readonly Runtime[] = [
  { name: OURS, command: [process.execPath, join(import.meta.dirname, '../../dist/node/tkadm-oci.cjs')] },
  { name: 'runc', command: ['runc'] },
  { name: 'crun', command: ['crun'] },
];

process.exitCode = await main(process.argv.slice(2));

async function main(only: readonly string[]): Promise<number> {
  const print = (text: string) => void process.stdout.write(`${text}\n`);
  const missing = process.getuid?.() === 0 ? await findMissingPackages() : ['root'];
  if (missing.length > 0) {
    print(`Cannot run the suites: missing are ${missing.join(', ')}; see docs/testing.md`);
    return 1;
  }
  const directory = await prepareSuites(print);
  const isLeftOut = (name: string) =>
    (only.length > 0 && !only.some((part) => name.includes(part))) ||
    findException(name)?.failures === 'left out';
  const columns = new Map<string, ReadonlyMap<string, TestResult>>();
  for (const runtime of RUNTIMES) {
    print(`running with ${runtime.name}`);
    columns.set(runtime.name, await runSuites(directory, runtime, isLeftOut));
    await removeCgroups();
    await rm(join(directory, 'work', runtime.name), { recursive: true, force: true });
  }
  const names = [...new Set([...columns.values()].flatMap((results) => [...results.keys()]))].sort();
  print(formatTable(names, columns));
  return report([...(columns.get(OURS)?.values() ?? [])], print);
}

function report(results: readonly TestResult[], print: (text: string) => void): number {
  const failed = results.filter(({ failures }) => failures.length > 0);
  const unknown = failed.filter(({ name, failures }) => {
    const allowed = findException(name)?.failures ?? 0;
    return allowed === 'left out' || failures.length > allowed;
  });
  print(`\nExceptions:`);
  for (const { test, failures, reason } of EXCEPTIONS) {
    const state = failed.some(({ name }) => name === test)
      ? 'failed'
      : failures === 'left out'
        ? failures
        : 'passed';
    print(`  ${test} (${state}): ${reason}`);
  }
  for (const { name, failures } of unknown) print(`\nFailed: ${name}\n  ${failures.join('\n  ')}`);
  const assertions = results.reduce((sum, { passed }) => sum + passed, 0);
  print(
    `\n${results.length} tests, ${assertions} assertions passed, ${failed.length} tests failed, ${unknown.length} of them unexpectedly`,
  );
  return unknown.length === 0 && results.length > 0 ? 0 : 1;
}

function findException(name: string): SuiteException | undefined {
  return EXCEPTIONS.find(({ test }) => test === name);
}
