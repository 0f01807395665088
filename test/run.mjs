// Runs the test suite with tap and ends with the line "N passed, N failed", counted in assertions.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Containers with a network of their own turn forwarding on; the machine gets its own setting back.
const FORWARDING = '/proc/sys/net/ipv4/ip_forward';
const forwarding = await readFile(FORWARDING, 'utf8');

const dir = await mkdtemp(join(tmpdir(), 'tkadm-test-'));
const tapFile = join(dir, 'results.tap');
const args = ['tap', 'run', '--reporter=tap', ...process.argv.slice(2)];
const child = spawn('npx', args, { stdio: ['inherit', 'pipe', 'inherit'] });
const file = createWriteStream(tapFile);
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

const { passed, failed, skipped } = countAssertions(await readFile(tapFile, 'utf8'));
if (failed > 0 || code !== 0) process.stdout.write(await failures(tapFile));
if (skipped > 0) process.stdout.write(`${skipped} skipped\n`);
// A file that crashed or took too long may have no failed assertion of its own.
const isBroken = failed === 0 && (code !== 0 || passed + skipped === 0);
if (isBroken) process.stdout.write(`The run broke: tap ended with ${code ?? 'a signal'}\n`);
process.stdout.write(`${passed} passed, ${isBroken ? 1 : failed} failed\n`);
await rm(dir, { recursive: true, force: true });
await writeFile(FORWARDING, forwarding).catch(() => {});
process.exitCode = failed > 0 || isBroken ? 1 : 0;

/** Test files and failing or skipped assertions are shown live; the rest is in the count. */
function isWorthShowing(line) {
  return /^(ok|not ok) /.test(line) || /^\s+not ok /.test(line) || /# SKIP/i.test(line);
}

/** Leaf assertions only: a subtest's own line is followed by no deeper plan of its own. */
function countAssertions(tap) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  const depths = [];
  for (const line of tap.split('\n')) {
    const match = /^(\s*)(ok|not ok) (?:\d+)(.*)$/.exec(line);
    if (!match) continue;
    const depth = match[1].length;
    const isSubtest = depths.length > 0 && depths[depths.length - 1] > depth;
    while (depths.length > 0 && depths[depths.length - 1] >= depth) depths.pop();
    depths.push(depth);
    if (isSubtest && match[2] === 'ok') continue;
    if (/# SKIP/i.test(match[3])) count.skipped += 1;
    else if (/# TODO/i.test(match[3])) count.skipped += 1;
    else if (match[2] === 'ok') count.passed += 1;
    else if (!isSubtest) count.failed += 1;
  }
  return count;
}

/** The failing assertions, and files that failed as such, with their diagnostics. */
async function failures(path) {
  const lines = (await readFile(path, 'utf8')).split('\n');
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
