import t from 'tap';
import { parseTemplate } from '../../../bootstrap/render/go-template.ts';

const VALUE = {
  Name: '/web',
  State: { Pid: 42, Running: true, Error: '' },
  Env: ['A=1', 'B=2'],
  Labels: { tier: 'web', app: 'shop' },
  Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '4000' }], '443/tcp': null },
  Nothing: null,
};

const CASES = [
  ['plain', 'plain'],
  ['{{.Name}} {{.State.Pid}} {{.State.Running}}', '/web 42 true'],
  ['{{json .State}}', '{"Pid":42,"Running":true,"Error":""}'],
  ['{{.Env}} {{.Labels}}', '[A=1 B=2] map[app:shop tier:web]'],
  ['{{range .Env}}{{println .}}{{end}}', 'A=1\nB=2\n'],
  ['{{range $i, $e := .Env}}{{$i}}:{{$e}};{{end}}', '0:A=1;1:B=2;'],
  ['{{range $key, $value := .Labels}}{{$key}}={{$value}} {{end}}', 'app=shop tier=web '],
  ['{{(index (index .Ports "80/tcp") 0).HostPort}}', '4000'],
  ['{{index .Labels "tier"}} {{index .Env 1}}', 'web B=2'],
  ['{{with index .Ports "80/tcp"}}{{range .}}{{.HostPort}}{{end}}{{end}}', '4000'],
  ['{{if .State.Running}}up{{else}}down{{end}}', 'up'],
  ['{{if .State.Error}}bad{{else if eq .Name "/web"}}web{{end}}', 'web'],
  ['{{if and .State.Running (gt .State.Pid 40)}}yes{{end}}', 'yes'],
  ['{{range .Nothing}}x{{else}}none{{end}}', 'none'],
  ['{{.Name | upper}} {{join .Env ","}} {{len .Env}}', '/WEB A=1,B=2 2'],
  ['{{with .State}}{{.Pid}} {{$.Name}}{{end}}', '42 /web'],
  ['a {{- .State.Pid -}} b', 'a42b'],
  ['{{/* nothing */}}{{"text"}} {{`raw`}} {{3}}', 'text raw 3'],
  ['{{.Nothing}}', '<nil>'],
  ['{{printf "%.4s|%-4s|%4d|%04d|%q|%v|%%" .Name "a" 7 7 "x" .Env}}', '/web|a   |   7|0007|"x"|[A=1 B=2]|%'],
  ['{{slice .Name 1}} {{slice .Name 1 2}} {{pad "x" 1 2}}|', 'web w  x  |'],
  ['{{if le 2 2}}{{if ge 3 2}}yes{{end}}{{end}}', 'yes'],
] as const;

t.test('parseTemplate() fills in what Go does', (t) => {
  for (const [text, wanted] of CASES) {
    t.equal(parseTemplate(text)(VALUE), wanted, text);
  }
  t.end();
});

const REFUSED = [
  ['{{.Name', /without its "}}"/],
  ['{{.Nmae}}', /there is no field "Nmae"/],
  ['{{html .Name}}', /function "html".*not supported/],
  ['{{printf "%s %s" .Name}}', /"%s".* no value/],
  ['{{define "x"}}{{end}}', /"define" is not supported/],
  ['{{$x := .Name}}', /not supported/],
  ['{{if .Name}}', /no {{end}}/],
  ['{{end}}', /without a beginning/],
  ['{{range .Name}}{{end}}', /no list/],
  ['{{.Name &}}', /cannot be read/],
  ['{{}}', /it is empty/],
] as const;

t.test('parseTemplate() names what it does not know', (t) => {
  for (const [text, message] of REFUSED)
    t.throws(() => parseTemplate(text)(VALUE), { code: 'USAGE', message }, text);
  t.end();
});
