import { fields, flag, integer, list, map, object, taints, text } from './schema-parts.ts';

const ssh = object({
  ...fields(text, 'user identityFile jump hostKeyFingerprint'),
  port: integer,
  become: { type: 'string', enum: ['auto', 'sudo', 'doas', 'none'] },
  hostKeys: { type: 'string', enum: ['strict', 'ask', 'accept-new'] },
});

/** What a group may say for its hosts. */
const shared = {
  role: { type: 'string', enum: ['control-plane', 'worker'] },
  ssh,
  labels: map(text),
  taints,
  interface: text,
};

const host = object({
  ...shared,
  ...fields(text, 'address group nodeName nodeIP'),
  local: flag,
});

/** Schema of `Cluster`: all machines of a cluster, and how they are reached. */
export const CLUSTER_SCHEMA = object({
  metadata: { ...object({ name: text }), required: ['name'] },
  spec: {
    ...object({
      ssh,
      groups: map(object(shared)),
      hosts: list({ ...host, required: ['address'] }),
    }),
    required: ['hosts'],
  },
});
