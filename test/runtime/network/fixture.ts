import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Runs a shell script; its output without the final newline. */
export function sh(script: string): string {
  return execFileSync('sh', ['-ec', script], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trimEnd();
}

/** Makes a network namespace and returns its path. Only for tests that import own-network.ts. */
export function addNamespace(name: string): string {
  sh(`ip netns add ${name} && ip -n ${name} link set lo up`);
  return `/run/netns/${name}`;
}

/** A machine outside the node: namespace "outside", 192.0.2.2, beside the node's 192.0.2.1. */
export function addOutside(): void {
  addNamespace('outside');
  sh(`ip link add uplink type veth peer name eth0 netns outside
    ip addr add 192.0.2.1/24 dev uplink && ip link set uplink up && ip route add default via 192.0.2.2
    ip -n outside addr add 192.0.2.2/24 dev eth0 && ip -n outside link set eth0 up
    ip -n outside route add default via 192.0.2.1`);
}

/** Answers every TCP connection and UDP message on a port with "NAME CLIENT-ADDRESS". */
const SERVER = `
const [name, port] = process.argv.slice(1);
const tcp = require('net').createServer((socket) => {
  socket.on('error', () => {});
  socket.end(name + ' ' + socket.remoteAddress.replace('::ffff:', ''));
});
const udp = require('dgram').createSocket('udp4');
udp.on('message', (_, peer) => udp.send(name + ' ' + peer.address, peer.port, peer.address));
tcp.listen(Number(port), '0.0.0.0', () => udp.bind(Number(port), '0.0.0.0', () => console.log('ready')));
`;

const CLIENT = `
const [protocol, host, port, count, local] = process.argv.slice(1);
const tcp = () => new Promise((resolve) => {
  const socket = require('net').connect({ host, port: Number(port) });
  let text = '';
  socket.setTimeout(1000, () => { resolve('timeout'); socket.destroy(); });
  socket.on('data', (chunk) => { text += chunk; });
  socket.on('error', (error) => resolve(error.code));
  socket.on('close', () => resolve(text));
});
const udp = () => new Promise((resolve) => {
  const socket = require('dgram').createSocket('udp4');
  const finish = (text) => { clearTimeout(timer); socket.close(); resolve(text); };
  const timer = setTimeout(finish, 1000, 'timeout');
  socket.on('message', (text) => finish(String(text)));
  socket.on('error', (error) => finish(error.code));
  socket.bind(Number(local), () => socket.connect(Number(port), host, () => socket.send('hello')));
});
(async () => {
  const answers = [];
  for (let i = 0; i < Number(count); i += 1) answers.push(await (protocol === 'tcp' ? tcp() : udp()));
  console.log(JSON.stringify(answers));
})();
`;

function enter(namespace: string): readonly string[] {
  return namespace === '' ? [] : ['ip', 'netns', 'exec', namespace];
}

/** Starts the server in a namespace ("" is the node); the caller kills it. */
export async function serve(namespace: string, name: string, port: number): Promise<ChildProcess> {
  const argv = [...enter(namespace), process.execPath, '-e', SERVER, name, `${port}`];
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

export interface Question {
  readonly protocol?: 'tcp' | 'udp';
  readonly count?: number;
  /** Source port of UDP messages, the same for all. */
  readonly localPort?: number;
}

/** Asks such a server from a namespace ("" is the node): its answers, or the error code, or "timeout". */
export function ask(
  namespace: string,
  host: string,
  port: number,
  question: Question = {},
): readonly string[] {
  const { protocol = 'tcp', count = 1, localPort = 0 } = question;
  const argv = [
    ...enter(namespace),
    process.execPath,
    '-e',
    CLIENT,
    protocol,
    host,
    port,
    count,
    localPort,
  ].map(String);
  return JSON.parse(execFileSync(argv[0]!, argv.slice(1), { encoding: 'utf8' }));
}
