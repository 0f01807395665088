import { createHash } from 'node:crypto';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';
import { decodeMessage, encodeMessage, type MessageOf } from '../../base/protobuf.ts';
import { ContainerAllocateResponse } from './messages.ts';

/** Devices of one resource that a container has, and what they bring along. */
export interface Allocation {
  readonly podUid: string;
  readonly containerName: string;
  readonly resourceName: string;
  readonly deviceIds: readonly string[];
  readonly response: MessageOf<typeof ContainerAllocateResponse>;
}

export interface DeviceCheckpoint {
  readonly allocations: readonly Allocation[];
  /** Resource names of plugins that were registered. */
  readonly resourceNames: readonly string[];
}

/** The kubelet's field names; devices are listed by NUMA node, of which "-1" is "not known". */
interface CheckpointFile {
  readonly Data: {
    readonly PodDeviceEntries: readonly {
      readonly PodUID: string;
      readonly ContainerName: string;
      readonly ResourceName: string;
      readonly DeviceIDs: Readonly<Record<string, readonly string[]>>;
      readonly AllocResp: string;
    }[];
    readonly RegisteredDevices: Readonly<Record<string, readonly string[]>>;
  };
  readonly Checksum: string;
}

const EMPTY: DeviceCheckpoint = { allocations: [], resourceNames: [] };

/** What was given out when the agent last ran; nothing when there is no file, or one that is not whole. */
export async function readCheckpoint(path: string): Promise<DeviceCheckpoint> {
  const text = await readFileIfExists(path);
  if (text === undefined) return EMPTY;
  try {
    const { Data, Checksum } = JSON.parse(text) as CheckpointFile;
    if (Checksum !== sumOf(Data)) return EMPTY;
    return {
      allocations: Data.PodDeviceEntries.map((entry) => ({
        podUid: entry.PodUID,
        containerName: entry.ContainerName,
        resourceName: entry.ResourceName,
        deviceIds: Object.values(entry.DeviceIDs).flat(),
        response: decodeMessage(ContainerAllocateResponse, Buffer.from(entry.AllocResp, 'base64')),
      })),
      resourceNames: Object.keys(Data.RegisteredDevices),
    };
  } catch {
    return EMPTY;
  }
}

/** Writes what is given out, for the next start of the agent. */
export async function writeCheckpoint(
  path: string,
  allocations: readonly Allocation[],
  devices: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  const data: CheckpointFile['Data'] = {
    PodDeviceEntries: allocations.map(({ podUid, containerName, resourceName, deviceIds, response }) => ({
      PodUID: podUid,
      ContainerName: containerName,
      ResourceName: resourceName,
      DeviceIDs: { '-1': deviceIds },
      AllocResp: Buffer.from(encodeMessage(ContainerAllocateResponse, response)).toString('base64'),
    })),
    RegisteredDevices: Object.fromEntries(devices),
  };
  const file: CheckpointFile = { Data: data, Checksum: sumOf(data) };
  await writeFileAtomic(path, JSON.stringify(file), { mode: 0o600 });
}

function sumOf(data: unknown): string {
  return createHash('sha256').update(JSON.stringify(data)).digest('hex');
}
