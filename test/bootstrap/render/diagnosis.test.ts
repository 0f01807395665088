import t from 'tap';
import { quoteEnd, quoteFailures } from '../../../bootstrap/diagnose/diagnosis.ts';
import { formatDiagnosis } from '../../../bootstrap/render/diagnosis.ts';
import { EVIDENCE } from '../diagnose/fixture.ts';

const LOG = [
  '2026-01-01T11:00:00.000Z WARN tkadm-agent/pods: Cannot sync pod "default/web": no image',
  '2026-01-01T11:00:01.000Z ERROR tkadm-agent: Cannot listen at port 10250: EADDRINUSE',
  '    at Server.listen (node:net:1)',
  '2026-01-01T11:00:02.000Z INFO tkadm-agent: ended',
];

t.test('quoteFailures() quotes no line that has nothing to do with an end', async (t) => {
  t.same(quoteFailures('a', LOG), [`log of a: "${LOG[1]}"`, `log of a: "${LOG[2]}"`]);
  t.same(quoteFailures('a', [LOG[0]!, LOG[3]!]), []);
});

t.test('quoteEnd() quotes the last words where no failure is told', async (t) => {
  t.same(quoteEnd('a', LOG), quoteFailures('a', LOG));
  t.same(quoteEnd('a', [LOG[0]!, LOG[3]!]), [`log of a: "${LOG[3]}"`]);
  t.same(quoteEnd('a', []), []);
});

t.test('formatDiagnosis() wraps sentences, and commands between their steps alone', async (t) => {
  const fix = 'kubectl -n kube-system get pods -l k8s-app=kube-dns; then tkadm why pod/kube-system/NAME';
  const diagnosis = {
    subject: { kind: 'cluster' },
    findings: [
      {
        name: 'dns-down',
        confidence: 'certain',
        subject: 'cluster',
        cause: 'names are not resolved in pods: no pod of Deployment kube-system/coredns is ready',
        fix,
        evidence: ['coredns: 0 of 1 ready'],
      },
    ],
    unseen: ['node1 over SSH: Cannot reach host "root@192.0.2.1": no route to host, and it was tried twice'],
    evidence: EVIDENCE,
  } as const;
  t.equal(
    formatDiagnosis(diagnosis, 60),
    `cluster: one cause

1. names are not resolved in pods: no pod of Deployment
   kube-system/coredns is ready
   seen  coredns: 0 of 1 ready
   fix   kubectl -n kube-system get pods -l k8s-app=kube-dns;
         then tkadm why pod/kube-system/NAME
   (certain: dns-down)

Not seen:
  node1 over SSH: Cannot reach host "root@192.0.2.1": no
    route to host, and it was tried twice
`,
  );
  t.ok(formatDiagnosis(diagnosis).includes(fix), 'elsewhere than in a terminal a line is a line');
});
