import { quantityToInteger } from '../../api/quantity.ts';
import type { Container } from '../pod.ts';

export interface Choice {
  /** Devices that the container may take now. */
  readonly available: readonly string[];
  /** Devices of finished init containers of the same pod, which are taken first. */
  readonly reusable: readonly string[];
  /** What the plugin would rather give. */
  readonly preferred: readonly string[];
  readonly count: number;
}

/** `count` of the available devices: reusable ones, then preferred ones, then by id. */
export function chooseDevices({ available, reusable, preferred, count }: Choice): readonly string[] {
  const isAvailable = new Set(available);
  const order = [...reusable, ...preferred, ...[...available].sort()];
  return [...new Set(order)].filter((id) => isAvailable.has(id)).slice(0, count);
}

/** Extended resource name → how many of them a container asks for. */
export function askedDevices(container: Container): ReadonlyMap<string, number> {
  const limits = Object.entries(container.resources?.limits ?? {});
  return new Map(
    limits
      .filter(([name]) => name.includes('/'))
      .map(([name, quantity]) => [name, quantityToInteger(quantity)] as const)
      .filter(([, count]) => count > 0),
  );
}

const OWN_DOMAIN = /(^|\.)kubernetes\.io\//;
const RESOURCE_NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/** True for a name that a plugin may offer: "vendor.example/gpu". */
export function isExtendedResource(name: string): boolean {
  return RESOURCE_NAME.test(name) && !OWN_DOMAIN.test(name) && !name.startsWith('requests.');
}
