import type { InitOf, MessageOf } from '../../base/protobuf.ts';
import type { CDIDevice, Device, Mount } from '../../cri/messages/container.ts';
import type { ContainerAllocateResponse } from './messages.ts';

/** What devices bring to a container, in CRI's words. */
export interface DeviceGrant {
  readonly envs: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly devices: readonly InitOf<typeof Device>[];
  readonly mounts: readonly InitOf<typeof Mount>[];
  readonly cdiDevices: readonly InitOf<typeof CDIDevice>[];
}

/** The answers of all plugins together; where two name the same path, variable or device, the first counts. */
export function buildGrant(responses: readonly MessageOf<typeof ContainerAllocateResponse>[]): DeviceGrant {
  const backwards = [...responses].reverse();
  return {
    envs: Object.assign({}, ...backwards.map(({ envs }) => envs)),
    annotations: Object.assign({}, ...backwards.map(({ annotations }) => annotations)),
    devices: firstOf(
      responses.flatMap(({ devices }) => devices),
      ({ containerPath }) => containerPath,
    ),
    mounts: firstOf(
      responses.flatMap(({ mounts }) => mounts),
      ({ containerPath }) => containerPath,
    ).map(({ containerPath, hostPath, readOnly }) => ({ containerPath, hostPath, readonly: readOnly })),
    cdiDevices: firstOf(
      responses.flatMap(({ cdiDevices }) => cdiDevices),
      ({ name }) => name,
    ),
  };
}

function firstOf<T>(list: readonly T[], keyOf: (item: T) => string): readonly T[] {
  const seen = new Map<string, T>();
  for (const item of list) if (!seen.has(keyOf(item))) seen.set(keyOf(item), item);
  return [...seen.values()];
}
