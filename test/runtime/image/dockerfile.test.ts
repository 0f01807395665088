import t from 'tap';
import { parseIgnoreRules } from '../../../runtime/image/build/ignore.ts';
import { INSTRUCTIONS, parseDockerfile } from '../../../runtime/image/dockerfile.ts';
import {
  expandVariables,
  expandWord,
  parseAssignments,
  splitWords,
} from '../../../runtime/image/dockerfile-words.ts';

/** Instructions after "FROM x" as [name, text, heredocs' contents]. */
const PARSED: readonly (readonly [title: string, lines: readonly string[], expected: readonly unknown[]])[] =
  [
    ['lower case', ['run true'], [['RUN', 'true']]],
    ['continuation', ['RUN a \\', '  b \\  ', '  c'], [['RUN', 'a   b   c']]],
    ['comment and blank line inside', ['RUN a \\', '# no', '', '  b'], [['RUN', 'a   b']]],
    ['continuation at the end', ['RUN a \\'], [['RUN', 'a']]],
    ['comment sign inside', ['RUN echo # yes'], [['RUN', 'echo # yes']]],
    ['JSON', ['CMD ["a", "b c"]'], [['CMD', '["a", "b c"]', ['a', 'b c']]]],
    ['no JSON', ['CMD [ -f x ]'], [['CMD', '[ -f x ]']]],
    ['flags', ['COPY --from=a --chown=1:2 x y'], [['COPY', 'x y']]],
    [
      'here-document',
      ['RUN <<EOF', 'a', '', ' b', 'EOF', 'USER x'],
      [
        ['RUN', '<<EOF', 'a\n\n b\n'],
        ['USER', 'x'],
      ],
    ],
    ['two here-documents', ['COPY <<a <<"b" /', '1', 'a', '2', 'b'], [['COPY', '<<a <<"b" /', '1\n', '2\n']]],
    ['tabs removed', ['RUN <<-E', '\t\ta', '\tE'], [['RUN', '<<-E', 'a\n']]],
    ['here-string', ['RUN cat <<< "x"'], [['RUN', 'cat <<< "x"']]],
    ['shift', ['RUN echo $((1<<2))'], [['RUN', 'echo $((1<<2))']]],
    ['here-document of another instruction', ['ENV a=<<EOF'], [['ENV', 'a=<<EOF']]],
    [
      'CRLF',
      ['RUN a\r', 'RUN b\r'],
      [
        ['RUN', 'a'],
        ['RUN', 'b'],
      ],
    ],
  ];

t.test('parseDockerfile() splits instructions', (t) => {
  for (const [title, lines, expected] of PARSED) {
    const [stage] = parseDockerfile(['FROM x', ...lines].join('\n')).stages;
    const found = stage!.instructions.map((row) => [
      row.name,
      row.text,
      ...(row.json ? [row.json] : []),
      ...row.heredocs.map((heredoc) => heredoc.content),
    ]);
    t.strictSame(found, expected, title);
  }
  t.end();
});

t.test('parseDockerfile() finds stages, lines and flags', (t) => {
  const text =
    '# syntax=x\n\nARG A=1\nFROM a AS One\nRUN x\nFROM --platform=linux/amd64 b\nCOPY --from=one / /\n';
  const { globalArgs, stages } = parseDockerfile(text);
  t.strictSame(
    globalArgs.map((row) => row.text),
    ['A=1'],
  );
  t.strictSame(
    stages.map(({ index, name, from }) => [index, name, from.line, from.text]),
    [
      [0, 'one', 4, 'a AS One'],
      [1, undefined, 6, 'b'],
    ],
  );
  t.strictSame(stages[1]!.instructions[0]!.flags, { from: 'one' });
  t.strictSame(stages[1]!.from.flags, { platform: 'linux/amd64' });
  t.end();
});

const REFUSED = [
  ['', /line 1 has no FROM/],
  ['RUN x\nFROM a', /line 1 has RUN before the first FROM/],
  ['FROM a\nNOPE x', /line 2 has an unknown instruction "NOPE"/],
  ['FROM a\n\n# c\nRUN', /line 4 has RUN without arguments/],
  ['FROM a\nRUN <<E\nx', /line 2 has a here-document "E" that does not end/],
  ['FROM a b', /line 1 has FROM "a b"/],
  ['FROM a AS', /line 1 has FROM "a AS"/],
  ['FROM a\nCOPY --unknown x y', /line 2 has COPY --unknown, which is not supported/],
  ['FROM a\nCMD --x y', /line 2 has CMD --x, which is not supported/],
  ['# escape=`\nFROM a', /line 1 has the escape character "`"/],
] as const;

t.test('parseDockerfile() names the line of a mistake', (t) => {
  for (const [text, message] of REFUSED) {
    t.throws(() => parseDockerfile(text), { code: 'DOCKERFILE_INVALID', message }, JSON.stringify(text));
  }
  t.end();
});

const VARIABLES = new Map([
  ['A', 'one'],
  ['B', 'two words'],
  ['EMPTY', ''],
]);

/* biome-ignore-start lint/suspicious/noTemplateCurlyInString: Dockerfiles have it like this */
const WORDS = [
  ['$A', 'one'],
  ['${A}x$B', 'onextwo words'],
  ['$NONE.', '.'],
  ['${NONE:-d}', 'd'],
  ['${EMPTY:-d}', 'd'],
  ['${EMPTY-d}', ''],
  ['${NONE-d$A}', 'done'],
  ['${A:+set}', 'set'],
  ['${EMPTY:+set}', ''],
  ['${EMPTY+set}', 'set'],
  ['\\$A', '$A'],
  ["'$A'", '$A'],
  ['"$A \\"q\\" \\n"', 'one "q" \\n'],
  ['a\\ b', 'a b'],
  ['$', '$'],
  ['$1', '$1'],
] as const;

t.test('expandWord() replaces variables and removes quotes', (t) => {
  for (const [word, expected] of WORDS) t.equal(expandWord(word, VARIABLES), expected, word);
  t.equal(expandVariables('"$A" \'$B\' \\$A \\n ${NONE:-x}', VARIABLES), '"one" \'two words\' $A \\n x');
  t.end();
});
/* biome-ignore-end lint/suspicious/noTemplateCurlyInString: Dockerfiles have it like this */

t.test('splitWords() splits outside of quotes', (t) => {
  t.strictSame(splitWords('a  "b c" \'d e\'f g\\ h', 1), ['a', '"b c"', "'d e'f", 'g\\ h']);
  t.throws(() => splitWords('"a', 3), { message: /line 3 has a quote " that does not end/ });
  t.end();
});

t.test('parseAssignments() reads both forms', (t) => {
  const read = (text: string) => {
    const [stage] = parseDockerfile(`FROM x\nENV ${text}`).stages;
    return parseAssignments(stage!.instructions[0]!, VARIABLES);
  };
  t.strictSame(read('a=1 b="x y" c=$A'), [
    ['a', '1'],
    ['b', 'x y'],
    ['c', 'one'],
  ]);
  t.strictSame(read('a some text $A'), [['a', 'some text one']]);
  t.throws(() => read('a'), { message: /line 2 has ENV "a" without a value/ });
  t.throws(() => read('a=1 b'), { message: /line 2 has ENV "b" without "="/ });
  t.end();
});

const IGNORED = [
  ['*.log', { 'a.log': true, 'd/a.log': false }],
  ['**/*.log', { 'a.log': true, 'd/e/a.log': true, alog: false }],
  ['**/cache', { 'cache/x': true, 'd/cache': true, mycache: false }],
  ['dir/', { dir: true, 'dir/x/y': true, dirs: false }],
  ['/top', { top: true, 'd/top': false }],
  ['./a/../b', { b: true, a: false }],
  ['a/**/z', { 'a/z': true, 'a/b/c/z': true, 'a/b': false }],
  ['a/**', { a: false, 'a/b': true }],
  ['file?.[ch]', { 'file1.c': true, 'file1.o': false }],
  ['*\n!keep', { x: true, keep: false, 'keep/y': false }],
  ['!keep\n*', { keep: true }],
  ['# x\n\n', { '# x': false }],
  ['a+b(c)', { 'a+b(c)': true, 'aab(c)': false }],
] as const;

t.test('parseIgnoreRules() follows .dockerignore', (t) => {
  for (const [text, paths] of IGNORED) {
    const rules = parseIgnoreRules(text);
    for (const [path, expected] of Object.entries(paths)) {
      t.equal(rules.isIgnored(path), expected, `${JSON.stringify(text)}: ${path}`);
    }
  }
  t.end();
});

t.test('INSTRUCTIONS has names in capitals and flags in small letters', (t) => {
  for (const [name, flags] of Object.entries(INSTRUCTIONS)) {
    t.match(name, /^[A-Z]+$/);
    for (const flag of flags) t.match(flag, /^[a-z-]+$/);
  }
  t.end();
});
