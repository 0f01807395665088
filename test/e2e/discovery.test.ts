import { readFile } from 'node:fs/promises';
import { join as joinPath } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { initCluster, kubectlText, labObstacle, readyNodes, tkadm } from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

t.test('join by a discovery file', { skip: labObstacle(), timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1', 'node2', 'node3'] });
  t.teardown(() => lab.close());
  const [cp, node1, node2, node3] = lab.hosts as [LabHost, LabHost, LabHost, LabHost];
  const { endpoint, pin } = await initCluster(cp);
  const write = (host: LabHost, path: string, input: string) =>
    host.exec(['sh', '-c', 'cat > "$1"', 'sh', path], { input });
  const clusterInfo = await kubectlText(cp, [
    'get',
    'cm',
    'cluster-info',
    '-n',
    'kube-public',
    '-o',
    'jsonpath={.data.kubeconfig}',
  ]);
  const newToken = async () => (await tkadm(cp, ['token', 'create', '--ttl', '10m'])).stdout.trim();

  await t.test('without user: the token is for TLS bootstrap', async (t) => {
    await write(node1, '/root/discovery.conf', clusterInfo);
    const without = await tkadm(node1, [
      'join',
      '--discovery-file',
      '/root/discovery.conf',
      '--fix',
      '-o',
      'json',
    ]);
    t.equal(without.exitCode, 4, without.all);
    t.match(without.stdout, /no --tls-bootstrap-token is given/);
    const token = await newToken();
    const joined = await tkadm(node1, [
      'join',
      '--discovery-file',
      '/root/discovery.conf',
      '--token',
      token,
      '--fix',
    ]);
    t.equal(joined.exitCode, 0, joined.all);
  });

  await t.test('with the client certificate of an administrator', async (t) => {
    const admin = (await cp.exec(['cat', '/etc/kubernetes/admin.conf'])).stdout;
    await write(node2, '/root/admin.conf', admin);
    const joined = await tkadm(node2, ['join', '--discovery-file', '/root/admin.conf', '--fix']);
    t.equal(joined.exitCode, 0, joined.all);
    const left = await node2.exec([
      'grep',
      '-rlF',
      /client-key-data: (\S+)/.exec(admin)?.[1] ?? '',
      '/etc/kubernetes',
    ]);
    t.equal(left.stdout, '', "the administrator's key does not stay");
  });

  await t.test('behind an https URL, of a server that the machine trusts', async (t) => {
    const directory = joinPath(lab.directory, 'web');
    const script =
      'mkdir -p $0 && cd $0 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=web -addext "subjectAltName=IP:$1"';
    await execa('sh', ['-ec', script, directory, lab.gateway]);
    const [key, cert] = await Promise.all(
      ['key.pem', 'cert.pem'].map((name) => readFile(joinPath(directory, name))),
    );
    const server = `require('https').createServer({key:${JSON.stringify(String(key))},cert:${JSON.stringify(String(cert))}},(q,r)=>r.end(${JSON.stringify(clusterInfo)})).listen(8443)`;
    void lab.spawn([process.execPath, '-e', server]);
    const url = `https://${lab.gateway}:8443/discovery.conf`;
    const token = await newToken();
    const args = ['join', '--discovery-file', url, '--tls-bootstrap-token', token, '--fix'];
    const untrusted = await tkadm(node3, args);
    t.equal(untrusted.exitCode, 4, untrusted.all);
    t.match(untrusted.stderr, /Cannot fetch "https:.*certificate/);
    await node3.exec(['sh', '-c', 'cat >> /etc/ssl/certs/ca-certificates.crt'], { input: String(cert) });
    const joined = await tkadm(node3, args);
    t.equal(joined.exitCode, 0, joined.all);
  });
  t.same(await readyNodes(cp), ['cp', 'node1', 'node2', 'node3']);

  await t.test('several pins, of which one is right, or none at all', async (t) => {
    const token = await newToken();
    const dry = ['--dry-run', '--ignore-preflight-errors=all', '--node-name', 'again', '-o', 'json'];
    const pins = [`sha256:${'0'.repeat(64)}`, pin].flatMap((text) => [
      '--discovery-token-ca-cert-hash',
      text,
    ]);
    await tkadm(node1, ['reset', '-f']);
    const both = await tkadm(node1, ['join', endpoint, '--token', token, ...pins, ...dry]);
    t.equal(both.exitCode, 0, both.all.slice(-1500));
    const unsafe = ['--discovery-token-unsafe-skip-ca-verification'];
    const skipped = await tkadm(node1, ['join', endpoint, '--token', token, ...unsafe, ...dry]);
    t.equal(skipped.exitCode, 0, skipped.all.slice(-1500));
  });
});
