import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ContainerConfig, Mount } from '../../runtime/cri/messages/container.ts';
import { ImageSpec } from '../../runtime/cri/messages/image.ts';
import {
  LinuxContainerResources,
  LinuxContainerSecurityContext,
  NamespaceOption,
} from '../../runtime/cri/messages/linux.ts';
import {
  LinuxPodSandboxConfig,
  LinuxSandboxSecurityContext,
  PodSandboxConfig,
} from '../../runtime/cri/messages/sandbox.ts';
import { CRI_RPCS } from '../../runtime/cri/rpcs.ts';

const PAGE = readFileSync(join(import.meta.dirname ?? '.', '../../docs/cri.md'), 'utf8');
const MESSAGES = {
  PodSandboxConfig,
  LinuxPodSandboxConfig,
  LinuxSandboxSecurityContext,
  NamespaceOption,
  ContainerConfig,
  Mount,
  LinuxContainerResources,
  LinuxContainerSecurityContext,
  ImageSpec,
};
/** Fields that are messages of their own, or spelt otherwise than by rule. */
const SPELT: Readonly<Record<string, string>> = {
  linux: 'Linux',
  cdiDevices: 'CDI_devices',
  uidMappings: 'uidMappings',
  gidMappings: 'gidMappings',
};

t.test('docs/cri.md has every call and every field', (t) => {
  for (const { name } of CRI_RPCS) t.match(PAGE, new RegExp(`\\b${name}\\b`), name);
  for (const [message, { fields }] of Object.entries(MESSAGES)) {
    for (const field of Object.keys(fields)) {
      const name = SPELT[field] ?? field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      t.ok(PAGE.includes(name), `${message}.${name}`);
    }
  }
  t.end();
});
