/** A range of ids: `size` ids from `containerID` on are those from `hostID` on outside (runtime-spec config-linux.md). */
export interface OciIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** The maps of a user namespace, or of a mount of its own. */
export interface IdMappings {
  readonly uidMappings: readonly OciIdMapping[];
  readonly gidMappings: readonly OciIdMapping[];
}

/** The lines of /proc/PID/uid_map, user_namespaces(7). */
export function formatIdMap(mappings: readonly OciIdMapping[]): string {
  return mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('');
}

/** The ranges in the lines of /proc/PID/uid_map. */
export function parseIdMap(text: string): readonly OciIdMapping[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter((numbers) => numbers.length === 3)
    .map(([containerID = 0, hostID = 0, size = 0]) => ({ containerID, hostID, size }));
}

/** The id outside of an id in the container; undefined when it is not mapped. */
export function hostId(mappings: readonly OciIdMapping[], id: number): number | undefined {
  const range = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return range === undefined ? undefined : range.hostID + id - range.containerID;
}
