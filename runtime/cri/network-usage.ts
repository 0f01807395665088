import { readFile } from 'node:fs/promises';
import type { SandboxRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';

/** Counters of one interface, proc_pid_net(5) "dev". */
export interface InterfaceCounters {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** The interfaces of a pod's network namespace without the loopback; undefined with the host's network. */
export async function readInterfaces(
  context: RuntimeContext,
  record: SandboxRecord,
): Promise<readonly InterfaceCounters[] | undefined> {
  const pid = context.engine.status(record.id)?.pid;
  if (pid === undefined || record.network === undefined) return undefined;
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8').catch(() => '');
  return parseNetDev(text).filter(({ name }) => name !== 'lo');
}

/** Lines "  eth0: bytes packets errors dropped ... bytes packets errors dropped ...", 8 numbers each way. */
export function parseNetDev(text: string): readonly InterfaceCounters[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*([^:\s]+):\s*(.*)$/.exec(line);
    if (!match) return [];
    const [
      rxBytes = 0,
      rxPackets = 0,
      rxErrors = 0,
      rxDropped = 0,
      ,
      ,
      ,
      ,
      txBytes = 0,
      txPackets = 0,
      txErrors = 0,
      txDropped = 0,
    ] = match[2]!.trim().split(/\s+/).map(Number);
    const received = { rxBytes, rxPackets, rxErrors, rxDropped };
    return [{ name: match[1]!, ...received, txBytes, txPackets, txErrors, txDropped }];
  });
}
