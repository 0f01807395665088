import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runContainer, runHostPod, skipReason } from '../../cri/fixture.ts';
import { type ImageFixture, openImageFixture } from './fixture.ts';

const skip = skipReason;
let fixture: ImageFixture;
let pod: string;

t.before(async () => {
  if (skip) return;
  fixture = await openImageFixture();
  pod = await runHostPod(fixture.cri, 'build');
});
t.teardown(async () => {
  await fixture?.close();
});

/** Runs shell scripts in one container of the image: their outputs. */
async function print(image: string, scripts: readonly string[]): Promise<readonly string[]> {
  const { client } = fixture.cri;
  const containerId = await runContainer(fixture.cri, pod, {
    image: { image },
    command: ['/bin/busybox', 'sleep', '60'],
  });
  try {
    const outputs: string[] = [];
    for (const script of scripts) {
      const cmd = ['/bin/busybox', 'sh', '-c', `{ ${script}; } 2>&1`];
      const { stdout } = await client.execSync({ containerId, cmd, timeout: 10 });
      outputs.push(Buffer.from(stdout).toString('utf8'));
    }
    return outputs;
  } finally {
    await client.stopContainer({ containerId, timeout: 0 });
    await client.removeContainer({ containerId });
  }
}

const DOCKERFILE = `# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM $BASE AS builder
USER root
ARG GREETING=hello
ENV TEXT="$GREETING world" \\
    # a comment between the lines
    OTHER=\${MISSING:-default}
WORKDIR /made/deep
RUN echo "$TEXT" > greeting && echo changed >> /etc/passwd && rm /bin/wget
RUN <<EOF
mkdir /made/tree
echo one > /made/tree/one
echo two > /made/tree/two
ln -s one /made/tree/link
EOF
RUN rm /made/tree/two && cat > /made/from-cat <<END && echo more >> /made/from-cat
text of $TEXT
END

FROM builder AS last-step
FROM busybox
USER 0:0
COPY --from=builder /made /made
COPY --from=0 --chown=web:extra /made/tree/link /plain
COPY *.txt docs/ /files/
COPY --chmod=0640 --chown=1000:1001 docs/*.md /files/md/
COPY . /all
COPY <<one.conf <<"two.conf" /conf/
value \${TARGETLESS:-none}
one.conf
value \${KEPT}
two.conf
ADD archive.tgz /unpacked/
RUN ["/bin/busybox", "touch", "/json form"]
WORKDIR /files
USER web
CMD echo "$HOME"
ENTRYPOINT ["/bin/busybox"]
EXPOSE 80 53/udp
LABEL a.b="c d" e=f
VOLUME /data
STOPSIGNAL SIGINT
`;

function writeProject(): string {
  const context = fixture.writeContext({
    Dockerfile: DOCKERFILE,
    '.dockerignore': '# comment\n**/*.log\nsecret\n!secret/public.txt\n',
    'a.txt': 'a',
    'b.txt': 'b',
    'debug.log': 'no',
    'docs/guide.md': 'guide',
    'docs/deep/x.md': 'x',
    'docs/deep/trace.log': 'no',
    'secret/private.txt': 'no',
    'secret/public.txt': 'yes',
    'packed/in/file': 'packed',
  });
  symlinkSync('/a.txt', join(context, 'docs', 'to-a'));
  execFileSync('tar', ['-C', join(context, 'packed'), '-czf', join(context, 'archive.tgz'), '.']);
  return context;
}

const EXPECTED = [
  ['ARG and ENV', 'cat /made/deep/greeting', 'good day world\n'],
  ['here-document in a command', 'cat /made/from-cat', 'text of good day world\nmore\n'],
  ['a deleted file is not copied', 'ls /made/tree', 'link\none\n'],
  ['COPY of a link follows it', 'busybox stat -c "%F %u:%g" /plain', 'regular file 1000:2000\n'],
  ['a link in a directory stays', 'busybox readlink /made/tree/link', 'one\n'],
  ['glob and directory', 'cd /files && echo *', 'a.txt b.txt deep guide.md md to-a\n'],
  ['--chown and --chmod', 'busybox stat -c "%a %u:%g" /files/md/guide.md', '640 1000:1001\n'],
  [
    '.dockerignore',
    'cd /all && busybox find . -type f | busybox sort | busybox tr "\\n" " "',
    './.dockerignore ./Dockerfile ./a.txt ./archive.tgz ./b.txt ./docs/deep/x.md ./docs/guide.md ./packed/in/file ./secret/public.txt ',
  ],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the file has it like this
  ['here-document files', 'cat /conf/one.conf /conf/two.conf', 'value none\nvalue ${KEPT}\n'],
  ['ADD of an archive', 'cat /unpacked/in/file', 'packed'],
  ['JSON form', 'ls /json*', '/json form\n'],
  ['user and directory', 'id -u; pwd', '1000\n/files\n'],
  ['attributes of directories stay', 'busybox stat -c %a:%u /etc', '755:0\n'],
  ['the base is as it was', 'ls /bin/wget', '/bin/wget\n'],
] as const satisfies readonly (readonly [title: string, script: string, expected: string])[];

t.test('buildImage() builds stages, copies, runs and configures', { skip }, async (t) => {
  const { images } = fixture.cri.runtime;
  const context = writeProject();
  const { image, lines } = await fixture.build(context, { buildArgs: { GREETING: 'good day' } });
  t.strictSame(image.repoTags, ['docker.io/test/built:1']);
  t.ok(lines.includes('[1] USER root'), 'the steps are told');
  const config = images.resolve('test/built:1')?.config.config;
  t.match(config, {
    Env: ['FROM_IMAGE=yes', 'PATH=/bin'],
    User: 'web',
    WorkingDir: '/files',
    Entrypoint: ['/bin/busybox'],
    Cmd: ['/bin/sh', '-c', 'echo "$HOME"'],
    ExposedPorts: { '80/tcp': {}, '53/udp': {} },
    Labels: { 'a.b': 'c d', e: 'f' },
    Volumes: { '/data': {} },
    StopSignal: 'SIGINT',
  });
  const outputs = await print(
    'test/built:1',
    EXPECTED.map(([, script]) => script),
  );
  for (const [index, [title, , expected]] of EXPECTED.entries()) t.equal(outputs[index], expected, title);

  const second = await fixture.build(context, { buildArgs: { GREETING: 'good day' } });
  t.equal(second.image.id, image.id, 'the same image from the cache');
  const cacheHits = second.lines.filter((line) => line.includes('from the cache')).length;
  t.equal(cacheHits, 12, 'every step that makes files is in the cache');

  writeFileSync(join(context, 'docs', 'guide.md'), 'changed');
  const third = await fixture.build(context, { buildArgs: { GREETING: 'good day' } });
  t.not(third.image.id, image.id, 'a changed file makes another image');
  const hits = third.lines.filter((line) => line.includes('from the cache')).length;
  t.equal(hits, 6, 'the steps before it are in the cache');
});

t.test('buildImage() makes whiteouts of what RUN deletes', { skip }, async (t) => {
  const context = fixture.writeContext({
    Dockerfile: [
      'FROM busybox',
      'USER 0',
      'RUN mkdir -p /d/e && echo 1 > /d/e/f && echo 1 > /d/g',
      'RUN rm -r /d/e && mkdir /d/e && echo 2 > /d/e/h && rm /d/g && rm /bin/wget && echo 3 >> /etc/group',
      'COPY --from=busybox /etc/passwd /d/',
    ].join('\n'),
  });
  await fixture.build(context, { tags: ['whiteouts'] });
  const [tree, wget, group, shell] = await print('whiteouts', [
    'cd /d && busybox find . | busybox sort | busybox tr "\\n" " "',
    'ls /bin/wget',
    'grep -c 3 /etc/group',
    'ls /bin/sh',
  ]);
  t.equal(tree, '. ./e ./e/h ./passwd ');
  t.match(wget, /No such file/);
  t.equal(group, '1\n');
  t.equal(shell, '/bin/sh\n');
  const layers = fixture.cri.runtime.images.resolve('whiteouts')!.layers;
  t.equal(layers.length, 4, 'one for the base, each RUN and COPY');
});

t.test('buildImage() leaves no mount point of a step in the image', { skip }, async (t) => {
  const root = fixture.writeContext({
    Dockerfile: 'FROM scratch\nCOPY bin /bin\nRUN ["/bin/busybox", "true"]\n',
  });
  mkdirSync(join(root, 'bin'));
  execFileSync('cp', ['/bin/busybox', join(root, 'bin')]);
  await fixture.build(root, { tags: ['bare'] });
  const { images } = fixture.cri.runtime;
  const [top] = images.lowerDirs(images.resolve('bare')!);
  t.equal(execFileSync('find', [top!, '-mindepth', '1'], { encoding: 'utf8' }), '');
});

const FAILURES = [
  ['RUN', 'FROM busybox\n\nRUN echo before\nRUN exit 7\n', /line 4, RUN exit 7: exit code 7/],
  ['unknown instruction', 'FROM busybox\nRUM x\n', /line 2 has an unknown instruction "RUM"/],
  ['missing source', 'FROM busybox\nCOPY nothing /x\n', /line 2 has "nothing", which is not there/],
  ['source outside', 'FROM busybox\nCOPY ../../etc/hostname /x\n', /line 2 has "..\/..\/etc\/hostname"/],
  ['unknown user', 'FROM busybox\nCOPY --chown=nobody:x . /x\n', /line 2 has the user "nobody"/],
  [
    'unsupported flag',
    'FROM busybox\nRUN --security=insecure true\n',
    /line 2 has RUN --security, which is not/,
  ],
  ['flag twice', 'FROM busybox\nCOPY --chown=1 --chown=2 a /b\n', /line 2 has COPY --chown twice/],
  [
    'mount type',
    'FROM busybox\nRUN --mount=type=ssh true\n',
    /line 2 has RUN --mount=type=ssh, which is not/,
  ],
  [
    'mount field',
    'FROM busybox\nRUN --mount=type=cache,target=/x,from=y true\n',
    /line 2 has "from" in RUN --mount/,
  ],
  ['mount target', 'FROM busybox\nRUN --mount=type=tmpfs true\n', /line 2 has RUN --mount without a target/],
  [
    'mount source',
    'FROM busybox\nRUN --mount=source=none,target=/x true\n',
    /line 2 has RUN --mount of "none"/,
  ],
  [
    'mount sharing',
    'FROM busybox\nRUN --mount=type=cache,target=/x,sharing=private true\n',
    /sharing=private/,
  ],
  [
    'secret',
    'FROM busybox\nRUN --mount=type=secret,id=k,required true\n',
    /line 2 has a secret "k" that --secret/,
  ],
  ['network', 'FROM busybox\nRUN --network=other true\n', /line 2 has RUN --network=other/],
  ['ONBUILD', 'FROM busybox\nONBUILD FROM busybox\n', /line 2 has ONBUILD FROM/],
  ['ONBUILD of nothing', 'FROM busybox\nONBUILD RUM x\n', /line 2 has an unknown instruction "RUM"/],
  ['HEALTHCHECK', 'FROM busybox\nHEALTHCHECK --retries=x CMD true\n', /line 2 has HEALTHCHECK --retries=x/],
  ['HEALTHCHECK time', 'FROM busybox\nHEALTHCHECK --interval=x CMD true\n', /line 2 has a flag/],
  ['git', 'FROM busybox\nADD https://a.example/x.git /x\n', /line 2 has ADD .*: git repositories/],
  ['checksum', 'FROM busybox\nADD --checksum=md5:0 http://127.0.0.1:1/x /x\n', /ADD --checksum=md5:0/],
  [
    'checksum of a file',
    `FROM busybox\nADD --checksum=sha256:${'0'.repeat(64)} file /x\n`,
    /ADD --checksum with/,
  ],
  ['COPY of an address', 'FROM busybox\nCOPY http://127.0.0.1:1/x /x\n', /which is not there to be copied/],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the file has it like this
  ['variable form', 'FROM busybox\nENV A=b\nENV B=${A#x}\n', /Cannot use "\$\{A#x\}" of the Dockerfile/],
  [
    'variable needed',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the file has it like this
    'FROM busybox\nENV B="${A:?no A}"\n',
    /Cannot use variable "A" of the Dockerfile: no A/,
  ],
  ['no files', 'FROM scratch\nRUN true\n', /line 2 has RUN in an image without files/],
  ['address', 'FROM busybox\nADD http://127.0.0.1:1/x /x\n', /line 2, ADD "http:.*ECONNREFUSED/],
  ['no program', 'FROM busybox\nRUN ["/nothing"]\n', /line 2, RUN \["\/nothing"\]/],
] as const satisfies readonly (readonly [title: string, dockerfile: string, message: RegExp])[];

t.test('buildImage() names the line that fails', { skip }, async (t) => {
  for (const [title, Dockerfile, message] of FAILURES) {
    const context = fixture.writeContext({ Dockerfile, file: 'x' });
    await t.rejects(fixture.build(context), { message }, title);
  }
  const context = fixture.writeContext({ Dockerfile: 'FROM busybox\n' });
  await t.rejects(fixture.build(context, { target: 'none' }), { code: 'DOCKERFILE_INVALID' });
  await t.rejects(fixture.build(join(context, 'none')), { code: 'IMAGE_REQUEST_INVALID' });
});

t.test('buildImage() shows what RUN writes, with both streams', { skip }, async (t) => {
  const context = fixture.writeContext({ Dockerfile: 'FROM busybox\nRUN echo out; echo err >&2; exit 3\n' });
  const lines: string[] = [];
  const { callImages } = await import('../../../runtime/cri/image-client.ts');
  const body = {
    contextDir: context,
    dockerfile: join(context, 'Dockerfile'),
    tags: ['x'],
    buildArgs: { UNUSED: '1' },
  };
  const call = callImages(fixture.socketPath, 'build', { body, onProgress: (line) => lines.push(line) });
  await t.rejects(call, { code: 'IMAGE_BUILD_STEP' });
  t.ok(lines.includes('out'));
  t.ok(lines.includes('err'));
  t.equal(lines[0], 'warning: no ARG "UNUSED" in the Dockerfile');
});
