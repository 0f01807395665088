import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { type HostPort, type PodInfo, parseResources, type Resources } from './pod-info.ts';

/** A node with the pods that run there or are about to, and what they take. */
export class NodeInfo {
  readonly name: string;
  readonly pods = new Map<string, PodInfo>();
  readonly requested: Record<string, number> = {};
  readonly scored = { cpu: 0, memory: 0 };
  #node: Node | undefined;
  #allocatable: Resources = {};
  #imageBytes: ReadonlyMap<string, number> = new Map();

  constructor(name: string) {
    this.name = name;
  }

  /** undefined while only pods are known, not the node. */
  get node(): Node | undefined {
    return this.#node;
  }

  get allocatable(): Resources {
    return this.#allocatable;
  }

  get imageBytes(): ReadonlyMap<string, number> {
    return this.#imageBytes;
  }

  set(node: Node | undefined): void {
    this.#node = node;
    this.#allocatable = parseResources(node?.status?.allocatable);
    const images = new Map<string, number>();
    for (const { names, sizeBytes = 0 } of node?.status?.images ?? []) {
      for (const name of names ?? []) images.set(name, sizeBytes);
    }
    this.#imageBytes = images;
  }

  add(info: PodInfo): void {
    this.remove(info.key);
    this.pods.set(info.key, info);
    this.#count(info, 1);
  }

  remove(key: string): void {
    const info = this.pods.get(key);
    if (!info) return;
    this.pods.delete(key);
    this.#count(info, -1);
  }

  /** A copy to try removals on. */
  clone(): NodeInfo {
    const copy = new NodeInfo(this.name);
    copy.set(this.#node);
    for (const info of this.pods.values()) copy.add(info);
    return copy;
  }

  /** Whether one of the ports is taken; the address 0.0.0.0 clashes with all others. */
  hasPortClash(ports: readonly HostPort[]): boolean {
    if (ports.length === 0) return false;
    for (const { hostPorts } of this.pods.values()) {
      for (const taken of hostPorts) if (ports.some((port) => isSamePort(port, taken))) return true;
    }
    return false;
  }

  #count({ requests, scored }: PodInfo, sign: 1 | -1): void {
    for (const [name, amount] of Object.entries(requests)) {
      this.requested[name] = (this.requested[name] ?? 0) + sign * amount;
    }
    this.scored.cpu += sign * scored.cpu;
    this.scored.memory += sign * scored.memory;
  }
}

function isSamePort(left: HostPort, right: HostPort): boolean {
  const isSameAddress = left.ip === right.ip || left.ip === '0.0.0.0' || right.ip === '0.0.0.0';
  return left.port === right.port && left.protocol === right.protocol && isSameAddress;
}
