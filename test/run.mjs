// Runs the test suite with tap and ends with the line "N passed, N failed", counted in assertions.
// With TKADM_TEST_ATTEMPTS=2 a file that failed is run once more, alone, and what happened is said before the count.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Containers with a network of their own turn forwarding on; the machine gets its own setting back.
const FORWARDING = '/proc/sys/net/ipv4/ip_forward';
/** More files than this are no accident of timing. */
const MAX_REPEATED_FILES = 3;

const forwarding = await readFile(FORWARDING, 'utf8');
const directory = await mkdtemp(join(tmpdir(), 'tkadm-test-'));
const results = await runSuite(process.argv.slice(2), 'results.tap');
const attempts = Number(process.env['TKADM_TEST_ATTEMPTS'] ?? 1);
for (let attempt = 2; attempt <= attempts; attempt += 1) await repeatFailed(results, attempt);
await rm(directory, { recursive: true, force: true });
await writeFile(FORWARDING, forwarding).catch(() => {});

const total = { passed: 0, failed: 0, skipped: 0 };
for (const file of results.files.values()) for (const key of Object.keys(total)) total[key] += file[key];
// A run that ended without a failed assertion may still have crashed.
const isBroken = total.failed === 0 && (results.code !== 0 || total.passed + total.skipped === 0);
if (total.skipped > 0) process.stdout.write(`${total.skipped} skipped\n`);
if (isBroken) process.stdout.write(`The run broke: tap ended with ${results.code ?? 'a signal'}\n`);
process.stdout.write(`${total.passed} passed, ${isBroken ? 1 : total.failed} failed\n`);
process.exitCode = total.failed > 0 || isBroken ? 1 : 0;

/** The exit code of tap, and the counts of each file. */
async function runSuite(args, tapName) {
  const path = join(directory, tapName);
  const child = spawn('npx', ['tap', 'run', '--reporter=tap', ...args], {
    stdio: ['inherit', 'pipe', 'inherit'],
  });
  const file = createWriteStream(path);
  let rest = '';
  child.stdout.on('data', (chunk) => {
    file.write(chunk);
    rest += chunk;
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (isWorthShowing(line)) process.stdout.write(`${line}\n`);
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  await new Promise((resolve) => file.end(resolve));
  const lines = (await readFile(path, 'utf8')).split('\n');
  if (code !== 0) process.stdout.write(formatFailures(lines));
  return { code, files: countByFile(lines) };
}

/** Runs the files that failed once more; their counts are then those of this attempt. */
async function repeatFailed(results, attempt) {
  const failed = [...results.files].filter(([, count]) => count.failed > 0).map(([name]) => name);
  if (failed.length === 0 || failed.length > MAX_REPEATED_FILES) return;
  process.stdout.write(`Attempt ${attempt} of ${failed.join(', ')}\n`);
  const again = await runSuite(['--jobs=1', ...failed], `attempt-${attempt}.tap`);
  for (const [name, count] of again.files) {
    results.files.set(name, count);
    if (count.failed === 0) process.stdout.write(`Passed only in attempt ${attempt}: ${name}\n`);
  }
  results.code = again.code;
}

/** Test files and failing or skipped assertions are shown live; the rest is in the count. */
/** Files, failures, skips, and how far a test on virtual machines has come: "# 444 s: ..." */
function isWorthShowing(line) {
  return /^(ok|not ok) /.test(line) || /^\s+(not ok |# \d+ s: )/.test(line) || /# SKIP/i.test(line);
}

/**
 * Passed, failed and skipped leaf assertions by test file. A subtest's own line follows its assertions at a lesser
 * depth; a file that crashed or took too long may have no failed assertion but its own line.
 */
function countByFile(lines) {
  const files = new Map();
  let count = { passed: 0, failed: 0, skipped: 0 };
  let depths = [];
  for (const line of lines) {
    const match = /^(\s*)(ok|not ok) \d+(.*)$/.exec(line);
    if (!match) continue;
    const [, indent, verdict, rest] = match;
    const depth = indent.length;
    const isSubtest = depths.length > 0 && depths[depths.length - 1] > depth;
    while (depths.length > 0 && depths[depths.length - 1] >= depth) depths.pop();
    depths.push(depth);
    if (/# (SKIP|TODO)/i.test(rest)) count.skipped += 1;
    else if (!isSubtest) count[verdict === 'ok' ? 'passed' : 'failed'] += 1;
    if (depth > 0) continue;
    if (verdict === 'not ok' && count.failed === 0) count.failed = 1;
    files.set(/^ - (\S+)/.exec(rest)?.[1] ?? rest, count);
    count = { passed: 0, failed: 0, skipped: 0 };
    depths = [];
  }
  return files;
}

/** The failing assertions, and files that failed as such, with their diagnostics. */
function formatFailures(lines) {
  const out = [];
  for (let i = 0; i < lines.length && out.length < 800; i += 1) {
    const indent = /^(\s*)not ok /.exec(lines[i])?.[1];
    // The line of a subtest says no more than its assertions.
    if (indent === undefined || (indent !== '' && lines[i].includes('# time='))) continue;
    const end = lines.findIndex((line, index) => index > i && line === `${indent}  ...`);
    out.push(...lines.slice(i, Math.min(end < 0 ? i + 40 : end, i + 40)), '---');
  }
  return `\n${out.join('\n')}\n`;
}
