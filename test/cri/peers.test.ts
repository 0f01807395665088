import { existsSync } from 'node:fs';
import t from 'tap';
import { skipReason } from '../runtime/network/own-network.ts';
import { CONTAINERD_PROGRAMS, startContainerd } from './containerd.ts';
import { type Observations, observe } from './scenario.ts';
import { startService } from './service.ts';

/** Answers that differ from those of Debian's containerd 1.6, and why. Each row has to be needed. */
const EXPLAINED: readonly { readonly keys: RegExp; readonly reason: string }[] = [
  { keys: /\.user\.linux\.|\.imageId$/, reason: 'fields that are newer than containerd 1.6' },
  { keys: /\.imageRef$|^container\.list$/, reason: 'the digest that the registry knows, as in containerd 2' },
  { keys: /^image\.repoDigests$/, reason: "an image that was loaded has its manifest's digest" },
  { keys: /^image\.pinned$/, reason: "the test's image is pinned in our store" },
  { keys: /^images\.filtered$/, reason: 'containerd 1.6 ignores the filter' },
  { keys: /^exit\.(?!oom)\w+\.resources\.|^end\.container\.resources\./, reason: 'none were asked for' },
  {
    keys: /\.resources\.linux\.memorySwapLimitInBytes$/,
    reason: 'swap is limited as the client says; kubelet and agent do',
  },
  {
    keys: /^(sandbox|container)\.twice$/,
    reason: 'containerd answers UNKNOWN for a name that is taken: ALREADY_EXISTS tells more',
  },
  {
    keys: /^sandbox\.no-(metadata|handler)$|^create\.(?!no-image|no-sandbox|unknown-capability)|^exec\.no-command$/,
    reason: 'containerd answers UNKNOWN for a bad request: INVALID_ARGUMENT, or NOT_FOUND, tells more',
  },
  {
    keys: /^container\.(exec-before-start|exec-stopped|log-stopped)$|^end\.create$/,
    reason: 'FAILED_PRECONDITION for a wrong state',
  },
  {
    keys: /^(sandbox|container)\.stop-of-none$/,
    reason: 'CRI: stopping what is not there is no error; containerd since 1.7',
  },
  { keys: /^exec\.identity\./, reason: "groups of the image's /etc/group; containerd since 2.0" },
  { keys: /^exec\.resolver\./, reason: 'the same lines in another order' },
  { keys: /^exec\.pid1\./, reason: 'the pod has the pause program of each runtime' },
  { keys: /^exit\.lost\.message$/, reason: 'our own words' },
];

const missing = CONTAINERD_PROGRAMS.find((path) => !existsSync(path));
const skip = skipReason || (missing !== undefined && `needs ${missing}`);

t.test('the runtime answers as containerd does', { skip }, async (t) => {
  const theirs = await startContainerd();
  t.teardown(() => theirs.close());
  const ours = await startService();
  t.teardown(() => ours.close());
  const [expected, actual] = await Promise.all([observe(theirs), observe(ours)]);
  t.ok(expected.size > 200, `${expected.size} answers`);
  const different = findDifferences(expected, actual);
  for (const [key, text] of different) {
    if (!EXPLAINED.some(({ keys }) => keys.test(key))) t.fail(`${key}: ${text}`);
  }
  for (const { keys, reason } of EXPLAINED)
    t.ok(
      [...different.keys()].some((key) => keys.test(key)),
      `${reason}: ${keys}`,
    );
});

function findDifferences(expected: Observations, actual: Observations): ReadonlyMap<string, string> {
  const keys = new Set([...expected.keys(), ...actual.keys()]);
  return new Map(
    [...keys]
      .filter((key) => expected.get(key) !== actual.get(key))
      .map((key) => [key, `containerd says ${expected.get(key)}, this runtime ${actual.get(key)}`]),
  );
}
