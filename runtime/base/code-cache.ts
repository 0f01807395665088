import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

/** What a CommonJS module is given (Node.js documentation, "The module wrapper"). */
const PARAMETERS = 'exports, require, module, __filename, __dirname';

type ModuleFunction = (
  exports: object,
  require: NodeJS.Require,
  module: { readonly exports: object },
  filename: string,
  directory: string,
) => void;

/**
 * Where the code that this Node.js makes of a program lies: beside it, by the version of V8 and the architecture, so
 * that several versions of Node.js may run one program.
 */
export function codePath(path: string): string {
  return `${path}.${process.versions.v8}-${process.arch}.code`;
}

/**
 * Runs a CommonJS file of ASCII text with the code that V8 made of it in an earlier process, which saves a third of
 * the time in which a large program starts. V8 refuses what another version or other flags have made; code that is
 * older than its file is not looked at.
 * @param entry the file that was asked for, which the module takes for itself.
 * @returns a function that keeps the code of this process, to be called at its end; it does nothing while there is
 * good code, or when the directory cannot be written to.
 */
export function runCompiled(path: string, entry = path): () => void {
  const cachedData = readCode(path);
  const script = compile(path, cachedData);
  const run = script.runInThisContext() as ModuleFunction;
  const module = { exports: {} };
  run(module.exports, createRequire(entry), module, entry, dirname(entry));
  const isGood = cachedData !== undefined && !script.cachedDataRejected;
  return () => {
    if (!isGood) writeCode(path, script);
  };
}

/** Makes the code of a program that is not run here, unless there is good code. A read-only place is no failure. */
export function keepCode(path: string): void {
  const cachedData = readCode(path);
  const script = compile(path, cachedData);
  if (cachedData === undefined || script.cachedDataRejected) writeCode(path, script);
}

function compile(path: string, cachedData: Buffer | undefined): Script {
  // ASCII read as Latin-1 stays a string of single bytes, without a look at each of them.
  const source = `(function (${PARAMETERS}) {${readFileSync(path, 'latin1')}\n})`;
  return new Script(source, { filename: path, ...(cachedData === undefined ? {} : { cachedData }) });
}

function writeCode(path: string, script: Script): void {
  const target = codePath(path);
  try {
    const temporary = `${target}.${process.pid}`;
    writeFileSync(temporary, script.createCachedData(), { mode: 0o644 });
    renameSync(temporary, target);
  } catch {
    // Without it the program costs time, nothing else.
  }
}

/** Undefined without code, or when it is older than its file: V8 itself looks at the length of the source alone. */
function readCode(path: string): Buffer | undefined {
  const code = codePath(path);
  try {
    return statSync(code).mtimeMs >= statSync(path).mtimeMs ? readFileSync(code) : undefined;
  } catch {
    return undefined;
  }
}
