import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { startTestServer, type TestServer } from './test-server.ts';

const run = promisify(execFile);

const MANIFEST = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: demo}}
data: {color: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: demo}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`;

/** Commands of the real kubectl in order, and what they must print; a leading "!" expects a failure. */
const COMMANDS: readonly (readonly [command: string, output: RegExp])[] = [
  ['api-resources', /^deployments +deploy +apps\/v1 +true +Deployment$/m],
  ['api-versions', /^networking\.k8s\.io\/v1$/m],
  ['create serviceaccount default', /created/],
  [
    'apply -f MANIFEST',
    /configmap\/settings created[\s\S]*deployment.apps\/web created[\s\S]*service\/web created/,
  ],
  [
    'apply -f MANIFEST',
    /configmap\/settings unchanged[\s\S]*deployment.apps\/web unchanged[\s\S]*service\/web unchanged/,
  ],
  ['get deployment web', /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +0\/2/],
  ['get deployment,service -o name', /^deployment.apps\/web\nservice\/kubernetes\nservice\/web$/m],
  ['get service web -o jsonpath={.spec.clusterIP}', /^10\.\d+\.\d+\.\d+$/],
  ['get configmap -l app=demo -o jsonpath={.items[*].metadata.name}', /^settings$/],
  ['get configmap -l app!=demo -o name', /^configmap\/kube-root-ca|^$/],
  ['scale deployment web --replicas=5', /scaled/],
  ['get deployment web -o jsonpath={.spec.replicas}/{.metadata.generation}', /^5\/2$/],
  ['set image deployment/web web=nginx:2', /image updated/],
  ['get deployment web -o jsonpath={.spec.template.spec.containers[0].image}', /^nginx:2$/],
  ['label configmap settings tier=a', /labeled/],
  ['annotate configmap settings note=b', /annotated/],
  ['patch configmap settings --type=json -p [{"op":"add","path":"/data/size","value":"xl"}]', /patched/],
  ['get configmap settings -o jsonpath={.data}', /"size":"xl"/],
  ['describe configmap settings', /Name: +settings/],
  ['explain deployment.spec.replicas', /FIELD: replicas <integer>/],
  ['create namespace other', /created/],
  ['create configmap typed --from-literal=a=b -n other', /created/],
  ['create deployment typed --image=nginx -n other', /created/],
  ['create secret generic hidden --from-literal=a=b', /created/],
  ['create role reader --verb=get,list --resource=configmaps', /created/],
  ['create rolebinding readers --role=reader --user=jane', /created/],
  ['--context=jane get configmap settings -o name', /^configmap\/settings$/m],
  [
    '!--context=jane get secret hidden',
    /User "jane" cannot get resource "secrets" in API group "" in the namespace "default"/,
  ],
  ['auth can-i create pods', /^yes/],
  ['!--context=jane auth can-i create pods', /^no/],
  ['auth whoami -o jsonpath={.status.userInfo.username}', /^kubernetes-admin$/],
  ['create token default', /^[\w-]+\.[\w-]+\.[\w-]+$/m],
  ['run lone --image=busybox --restart=Never', /created/],
  ['get pod lone', /^NAME +READY +STATUS +RESTARTS +AGE\nlone +0\/1 +Pending/],
  ['delete pod lone', /deleted/],
  ['!get pod lone', /pods "lone" not found/],
  ['delete -f MANIFEST', /deleted/],
  ['delete namespace other --wait=false', /deleted/],
  ['get namespace other -o jsonpath={.status.phase}', /^Terminating$/],
  ['get all -A', /service\/kubernetes/],
  ['get events -A', /No resources found|LAST SEEN/],
  ['cluster-info', /Kubernetes control plane.* is running at/],
  ['get --raw /readyz', /^ok$/],
];

t.test('real kubectl', async (t) => {
  const server = await startTestServer(t);
  const manifest = join(server.directory, 'manifest.yaml');
  await writeFile(manifest, MANIFEST);
  for (const [line, expected] of COMMANDS) {
    const { command, output, hasFailed } = await kubectl(server, line.replace('MANIFEST', manifest));
    t.equal(hasFailed, line.startsWith('!'), `${command}: ${output.slice(0, 300)}`);
    t.match(output, expected, command);
  }

  t.test('get --watch follows', async (t) => {
    const watch = spawn('kubectl', [
      ...flagsOf(server),
      'get',
      'configmap',
      '-n',
      'default',
      '--watch',
      '-o',
      'name',
    ]);
    let text = '';
    watch.stdout.on('data', (chunk) => {
      text += chunk;
      if (text.includes('configmap/seen')) watch.kill();
    });
    const done = once(watch, 'close');
    // What is created before the watch is there is listed by it: either way it must appear.
    await kubectl(server, 'create configmap seen');
    const timer = setTimeout(() => watch.kill(), 10_000);
    await done;
    clearTimeout(timer);
    t.match(text, /configmap\/seen/);
  });

  t.test('wait sees a deletion', async (t) => {
    await kubectl(server, 'create configmap waited');
    const waiting = kubectl(server, 'wait --for=delete configmap/waited --timeout=10s');
    await kubectl(server, 'delete configmap waited');
    t.notOk((await waiting).hasFailed);
  });
});

function flagsOf(server: TestServer): readonly string[] {
  return [`--kubeconfig=${server.kubeconfig}`, `--cache-dir=${join(server.directory, 'cache')}`];
}

async function kubectl(server: TestServer, line: string) {
  const command = line.replace(/^!/, '');
  const args = [...flagsOf(server), ...command.split(' ')];
  try {
    const { stdout, stderr } = await run('kubectl', args, { timeout: 30_000 });
    return { command, output: stdout || stderr, hasFailed: false };
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    return { command, output: `${stdout}${stderr}`, hasFailed: true };
  }
}
