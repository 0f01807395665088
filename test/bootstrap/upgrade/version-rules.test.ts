import t from 'tap';
import { findVersionProblems, parseVersion } from '../../../bootstrap/upgrade/version-rules.ts';

interface Case {
  readonly target: string;
  readonly cluster?: string;
  readonly kubelet?: string;
  readonly allow?: 'experimental' | 'rc';
  /** What is said, and whether --force helps; undefined: nothing. */
  readonly problem?: readonly [message: RegExp, isForceable: boolean];
}

const CASES: Readonly<Record<string, Case>> = {
  'the next minor release': { target: 'v1.37.1', cluster: 'v1.36.2' },
  'a patch release': { target: 'v1.37.1', cluster: 'v1.37.0' },
  'the same version': { target: 'v1.37.1', cluster: 'v1.37.1' },
  'older than any that is supported': {
    target: 'v1.34.0',
    cluster: 'v1.34.0',
    problem: [/older than v1\.35\.0/, false],
  },
  'two minor releases further': {
    target: 'v1.37.1',
    cluster: 'v1.35.0',
    problem: [/more than one.*newer/, false],
  },
  'two minor releases back': {
    target: 'v1.35.3',
    cluster: 'v1.37.0',
    problem: [/more than one.*older/, false],
  },
  'two minor releases further, a pre-release': {
    target: 'v1.37.0-beta.1',
    cluster: 'v1.35.0',
    allow: 'experimental',
    problem: [/more than one.*newer/, true],
  },
  'newer than this package by a minor release': {
    target: 'v1.38.0',
    cluster: 'v1.37.0',
    problem: [/newer minor release than this tkadm/, false],
  },
  'newer than this package by a patch': {
    target: 'v1.37.2',
    cluster: 'v1.37.0',
    problem: [/newer than this/, true],
  },
  'an older minor release than this package': {
    target: 'v1.36.9',
    cluster: 'v1.36.2',
    problem: [/made for v1\.37\.1/, true],
  },
  'older than the cluster': {
    target: 'v1.37.1',
    cluster: 'v1.37.3',
    problem: [/older than the cluster/, true],
  },
  'a release candidate': {
    target: 'v1.37.1-rc.0',
    cluster: 'v1.37.0',
    problem: [/--allow-release-candidate-upgrades/, true],
  },
  'a release candidate that is allowed': { target: 'v1.37.1-rc.0', cluster: 'v1.37.0', allow: 'rc' },
  'an alpha version': {
    target: 'v1.37.1-alpha.3',
    cluster: 'v1.37.0',
    allow: 'rc',
    problem: [/--allow-experimental-upgrades/, true],
  },
  'an alpha version that is allowed': {
    target: 'v1.37.1-alpha.3',
    cluster: 'v1.37.0',
    allow: 'experimental',
  },
  'an agent three minor releases behind': { target: 'v1.37.1', cluster: 'v1.37.0', kubelet: 'v1.34.0' },
  'an agent four minor releases behind': {
    target: 'v1.37.1',
    cluster: 'v1.37.0',
    kubelet: 'v1.33.9',
    problem: [/more than 3 minor.*old \(v1\.33\.9\)/, true],
  },
};

for (const [name, { target, cluster = target, kubelet, allow, problem }] of Object.entries(CASES)) {
  t.test(`findVersionProblems(): ${name}`, (t) => {
    const problems = findVersionProblems({
      target: parseVersion(target)!,
      cluster: parseVersion(cluster)!,
      tool: parseVersion('v1.37.1')!,
      kubelets: kubelet === undefined ? { new: 'v1.37.0' } : { old: kubelet },
      allowExperimental: allow === 'experimental',
      allowRC: allow === 'rc',
    });
    if (problem === undefined) t.same(problems, []);
    else
      t.ok(
        problems.some(({ message, isForceable }) => problem[0].test(message) && isForceable === problem[1]),
        JSON.stringify(problems),
      );
    t.end();
  });
}

t.test('parseVersion() takes versions of Kubernetes 1 alone', (t) => {
  t.match(parseVersion('1.36.2'), { minor: 36, patch: 2, preRelease: '' });
  t.match(parseVersion('v1.37.0-rc.1+build'), { minor: 37, patch: 0, preRelease: 'rc.1' });
  for (const text of ['', 'v1.36', 'v2.0.0', 'stable']) t.equal(parseVersion(text), undefined, text);
  t.end();
});
