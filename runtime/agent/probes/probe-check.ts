import { connect } from 'node:net';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { type CriClient, criErrorCode } from '../../cri/client.ts';
import { type HttpGetter, PROBE_USER_AGENT, resolvePort } from '../http-get.ts';
import type { Container } from '../pod.ts';

export interface ProbeTarget {
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
}

export interface ProbeOutcome {
  /** "unknown": the check itself could not be made; it changes nothing. */
  readonly result: 'success' | 'failure' | 'unknown';
  readonly output: string;
}

/** Performs one check of a probe: exec, httpGet, tcpSocket or grpc. Never throws. */
export async function checkProbe(
  { cri, http }: { readonly cri: CriClient; readonly http: HttpGetter },
  probe: core.Probe,
  target: ProbeTarget,
): Promise<ProbeOutcome> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  try {
    if (probe.exec) return await checkExec(cri, probe.exec.command ?? [], { ...target, timeoutMs });
    if (probe.httpGet) return await checkHttp(http, probe.httpGet, { ...target, timeoutMs });
    if (probe.tcpSocket) return await checkTcp(probe.tcpSocket, { ...target, timeoutMs });
    if (probe.grpc) return await checkGrpc(probe.grpc, { ...target, timeoutMs });
    return { result: 'unknown', output: 'Missing probe handler' };
  } catch (error) {
    return { result: 'failure', output: (error as Error).message };
  }
}

type Timed = ProbeTarget & { readonly timeoutMs: number };

async function checkExec(cri: CriClient, command: readonly string[], target: Timed): Promise<ProbeOutcome> {
  try {
    const { stdout, stderr, exitCode } = await cri.execSync(
      { containerId: target.containerId, cmd: [...command], timeout: Math.ceil(target.timeoutMs / 1000) },
      { timeoutMs: target.timeoutMs + 1000 },
    );
    const output = Buffer.concat([stdout, stderr])
      .toString('utf8')
      .slice(0, 10 * 1024);
    return { result: exitCode === 0 ? 'success' : 'failure', output };
  } catch (error) {
    const code = criErrorCode(error);
    const isTimeout = code === 'DEADLINE_EXCEEDED';
    return {
      result: isTimeout ? 'failure' : 'unknown',
      output: isTimeout ? `command timed out after ${target.timeoutMs} ms` : (error as Error).message,
    };
  }
}

async function checkHttp(http: HttpGetter, action: core.HTTPGetAction, target: Timed): Promise<ProbeOutcome> {
  const { status, body } = await http.get(action, { ...target, userAgent: PROBE_USER_AGENT });
  if (status >= 200 && status < 400) return { result: 'success', output: body };
  return { result: 'failure', output: `HTTP probe failed with statuscode: ${status}` };
}

function checkTcp(action: core.TCPSocketAction, target: Timed): Promise<ProbeOutcome> {
  const port = resolvePort(action.port, target.container);
  return new Promise((resolve) => {
    const socket = connect({ host: action.host || target.podIp, port });
    const end = (result: 'success' | 'failure', output: string) => {
      socket.destroy();
      resolve({ result, output });
    };
    socket.setTimeout(target.timeoutMs, () =>
      end('failure', `dial tcp ${action.host || target.podIp}:${port}: i/o timeout`),
    );
    socket.on('connect', () => end('success', ''));
    socket.on('error', (error) => end('failure', error.message));
  });
}

/** grpc.health.v1: HealthCheckRequest{service = 1}, HealthCheckResponse{status = 1}, SERVING is 1. */
function checkGrpc(action: core.GRPCAction, target: Timed): Promise<ProbeOutcome> {
  const client = new Client(`${target.podIp}:${action.port}`, credentials.createInsecure());
  const service = Buffer.from(action.service ?? '', 'utf8');
  const request =
    service.length === 0 ? service : Buffer.concat([Buffer.from([0x0a, service.length]), service]);
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/grpc.health.v1.Health/Check',
      (value: Buffer) => value,
      (bytes: Buffer) => (bytes[0] === 0x08 ? (bytes[1] ?? 0) : 0),
      request,
      new Metadata(),
      { deadline: Date.now() + target.timeoutMs },
      (error, status) => {
        client.close();
        if (error) resolve({ result: 'failure', output: error.message });
        else if (status === 1) resolve({ result: 'success', output: 'service is SERVING' });
        else resolve({ result: 'failure', output: `service unhealthy (responded with ${status})` });
      },
    );
  });
}
