import type { Server } from 'node:https';
export interface KubeletServerOptions { readonly [key: string]: unknown }
export async function startKubeletServer(_options: KubeletServerOptions): Promise<Server | undefined> {
  return undefined;
}
