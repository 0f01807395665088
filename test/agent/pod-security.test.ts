import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import type { AgentPod } from '../../runtime/agent/pod.ts';
import { asksIfPossible, isRecursiveReadOnly } from '../../runtime/agent/recursive-read-only.ts';
import { buildContainerSecurity, buildSandboxSecurity } from '../../runtime/agent/security.ts';
import { findForbiddenSysctl } from '../../runtime/agent/sysctls.ts';
import { claimIdRange } from '../../runtime/agent/user-namespaces.ts';

const CONTAINER = { name: 'c', image: 'i' };

function pod(spec: object, uid = 'u'): AgentPod {
  return {
    metadata: { name: 'p', namespace: 'ns', uid },
    spec: { containers: [CONTAINER], ...spec } as core.PodSpec,
  };
}

t.test('claimIdRange() gives each pod with hostUsers: false 64k ids of its own and remembers them', (t) => {
  const pods = t.testdir({});
  const claim = (uid: string, hostUsers?: boolean) =>
    claimIdRange(pod(hostUsers === undefined ? {} : { hostUsers }, uid), join(pods, uid))?.hostId;
  t.equal(claim('none'), undefined);
  t.equal(claim('shared', true), undefined);
  t.same([claim('a', false), claim('b', false), claim('a', false)], [65_536, 131_072, 65_536]);
  const mapping = { hostId: 65_536, containerId: 0, length: 65_536 };
  t.same(JSON.parse(readFileSync(join(pods, 'a/userns'), 'utf8')), {
    uidMappings: [mapping],
    gidMappings: [mapping],
  });
  rmSync(join(pods, 'a'), { recursive: true });
  t.same([claim('c', false), claim('d', false)], [65_536, 196_608], 'what a removed pod had is free');
  t.end();
});

t.test('security contexts tell the runtime of user namespace, groups policy and group', (t) => {
  const idRange = { hostId: 65_536, length: 65_536 };
  const image = { uid: 7, username: '' };
  const container = (
    spec: object,
    own: object = {},
    imageUser: { uid: number | undefined; username: string } = image,
  ) =>
    buildContainerSecurity({
      pod: pod(spec),
      container: { ...CONTAINER, securityContext: own },
      imageUser,
      rootDir: '/x',
      isSeccompDefault: false,
      idRange,
    });
  const userns = { mode: 'POD', uids: [{ hostId: 65_536, containerId: 0, length: 65_536 }] };
  t.match(container({}).namespaceOptions?.usernsOptions, userns);
  t.match(buildSandboxSecurity(pod({}), idRange).namespaceOptions?.usernsOptions, userns);
  t.match(buildSandboxSecurity(pod({}), undefined).namespaceOptions?.usernsOptions, { mode: 'NODE' });
  const strict = { securityContext: { supplementalGroupsPolicy: 'Strict' } };
  t.equal(container(strict).supplementalGroupsPolicy, 'Strict');
  t.equal(buildSandboxSecurity(pod(strict), undefined).supplementalGroupsPolicy, 'Strict');
  const group = { runAsGroup: 3000 };
  t.match(
    container({}, group),
    { runAsGroup: { value: 3000 }, runAsUser: { value: 7 } },
    "with the image's user",
  );
  t.match(container({}, group, { uid: undefined, username: 'web' }), { runAsUsername: 'web' });
  t.equal(buildSandboxSecurity(pod({ securityContext: group }), undefined).runAsGroup, undefined);
  t.end();
});

t.test('isRecursiveReadOnly() follows the four answers of Kubernetes', (t) => {
  const mount = (recursiveReadOnly: string | undefined, more: object = {}) => ({
    name: 'v',
    mountPath: '/v',
    readOnly: true,
    ...(recursiveReadOnly && { recursiveReadOnly }),
    ...more,
  });
  const rows = [
    [mount(undefined), true, false],
    [mount('Disabled'), true, false],
    [mount('Enabled'), false, true],
    [mount('IfPossible'), true, true],
    [mount('IfPossible'), false, false],
    [mount('IfPossible', { readOnly: false }), true, false],
    [mount('IfPossible', { mountPropagation: 'HostToContainer' }), true, false],
  ] as const;
  for (const [one, can, expected] of rows)
    t.equal(isRecursiveReadOnly(one, can), expected, JSON.stringify(one));
  t.equal(asksIfPossible({ ...CONTAINER, volumeMounts: [mount('IfPossible')] }), true);
  t.equal(asksIfPossible({ ...CONTAINER, volumeMounts: [mount('Enabled')] }), false);
  t.end();
});

t.test('findForbiddenSysctl() lets a pod set what is safe or allowed, of its own namespaces', (t) => {
  const allowed = ['net.core.*', 'kernel.msgmax'];
  const rows = [
    ['net.ipv4.tcp_syncookies', {}, undefined],
    ['net/ipv4/tcp_syncookies', {}, undefined],
    ['net.core.somaxconn', {}, undefined],
    ['kernel.msgmax', {}, undefined],
    ['kernel.msgmnb', {}, '"kernel.msgmnb" not allowlisted'],
    ['net.corex', {}, '"net.corex" not allowlisted'],
    ['net.ipv4.tcp_syncookies', { hostIPC: true }, undefined],
    ['net.core.somaxconn', { hostNetwork: true }, '"net.core.somaxconn" not allowed with host net enabled'],
    ['kernel.msgmax', { hostIPC: true }, '"kernel.msgmax" not allowed with host ipc enabled'],
  ] as const;
  for (const [name, spec, expected] of rows) {
    const asking = pod({ ...spec, securityContext: { sysctls: [{ name, value: '1' }] } });
    t.equal(findForbiddenSysctl(asking, allowed), expected, `${name} ${JSON.stringify(spec)}`);
  }
  t.end();
});
