import { TkadmError } from '../../base/errors.ts';
import type { FlagValues } from '../../base/flags.ts';
import type { Logger } from '../../base/log.ts';
import { EmbeddedStore } from '../store/embedded.ts';
import { EtcdStore } from '../store/etcd.ts';
import type { Store } from '../store/types.ts';
import type { API_SERVER_FLAGS } from './flags.ts';
import type { FileGroupName, ServerFiles } from './server-files.ts';

export interface OpenStoreOptions {
  readonly flags: FlagValues<typeof API_SERVER_FLAGS>;
  readonly files: ServerFiles;
  readonly logger: Logger;
  /** Memory can no longer follow the store: start again. */
  readonly onLost: (error: TkadmError) => void;
}

/** The store in use, and what has to be told of renewed files. */
export interface OpenedStore {
  readonly store: Store;
  readonly filesChanged: (group: FileGroupName) => void;
}

/** Files that the connections to etcd depend on. */
const ETCD_GROUPS: readonly FileGroupName[] = ['etcdClient', 'etcdCa'];

/** etcd when --etcd-servers names its members, else the embedded store. @throws STORE_*, FLAG_INVALID */
export async function openStore({ flags, files, logger, onLost }: OpenStoreOptions): Promise<OpenedStore> {
  const endpoints = flags['etcd-servers'];
  if (endpoints.length === 0) {
    const store = await EmbeddedStore.open({ directory: flags['store-dir'], logger: logger.child('store') });
    return { store, filesChanged: () => {} };
  }
  const store = await EtcdStore.open({
    endpoints,
    credentials: files.etcd,
    prefix: formatPrefix(flags['etcd-prefix']),
    compactionIntervalMs: flags['etcd-compaction-interval'],
    logger: logger.child('etcd'),
    onLost,
  });
  const filesChanged = (group: FileGroupName) => {
    if (ETCD_GROUPS.includes(group)) store.setCredentials(files.etcd);
  };
  return { store, filesChanged };
}

/** "registry/" → "/registry", as kube-apiserver's storage factory has it. */
function formatPrefix(text: string): string {
  const name = text.replace(/^\/+|\/+$/g, '');
  if (name !== '') return `/${name}`;
  throw new TkadmError('FLAG_INVALID', `Cannot use flag "--etcd-prefix=${text}": it is empty`);
}
