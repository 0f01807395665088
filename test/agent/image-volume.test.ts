import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { openAgentFixture, skipReason } from './fixture.ts';

const PROGRAM = `ls /data/bin/busybox; cat /part; touch /data/x 2>&1 || echo kept`;

const MANIFEST = `apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: kube-system}
spec:
  hostNetwork: true
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    imagePullPolicy: Never
    command: [sh, -c, '${PROGRAM}']
    env: [{name: FILE, value: group}]
    volumeMounts:
    - {name: files, mountPath: /data}
    - {name: files, mountPath: /part, subPathExpr: etc/$(FILE)}
  - name: other
    image: busybox
    imagePullPolicy: Never
    command: [sleep, '1000']
    volumeMounts:
    - {name: absent, mountPath: /data}
  volumes:
  - name: files
    image: {reference: busybox, pullPolicy: Never}
  - name: absent
    image: {reference: localhost/absent, pullPolicy: Never}
`;

t.test('a pod has images as volumes', { skip: skipReason }, async (t) => {
  const fixture = await openAgentFixture();
  t.teardown(() => fixture.close());
  writeFileSync(join(fixture.manifests, 'reader.yaml'), MANIFEST);
  const { client } = fixture.cri;
  const [sandbox] = await waitFor(
    async () => {
      const { containers } = await client.listContainers({
        filter: { state: { state: 'CONTAINER_EXITED' } },
      });
      return containers.length > 0 ? containers : undefined;
    },
    { subject: 'the end of the container', timeoutMs: 60_000, intervalMs: 20 },
  );
  const uid = sandbox?.labels['io.kubernetes.pod.uid'];
  const log = readFileSync(
    join(fixture.directory, 'logs', `kube-system_reader-${fixture.nodeName}_${uid}`, 'main/0.log'),
    'utf8',
  );
  t.match(log, /busybox\n/);
  t.match(log, /extra:x:2000:web\n/, 'a part of it');
  t.match(log, /Read-only file system/);
  const { containers } = await client.listContainers({});
  t.same(
    containers.map(({ metadata }) => metadata?.name),
    ['main'],
    'without the image of its volume a container is not made',
  );
});
