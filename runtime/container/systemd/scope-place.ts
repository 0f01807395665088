import { TkadmError } from '../../base/errors.ts';

/** The slice and the prefix of a container that names neither. */
const DEFAULT_SLICE = 'system.slice';
const DEFAULT_PREFIX = 'tkadm';
/** systemd.unit(5): a unit's name; what would have to be escaped is refused. */
const UNIT_NAME = /^[A-Za-z0-9:_.@-]{1,255}$/;
const SLICE_NAME = /^(-|[A-Za-z0-9:_.]+(-[A-Za-z0-9:_.]+)*)\.slice$/;

/**
 * The path of a container's cgroup when systemd makes it: "machine.slice:libpod:ID" →
 * "/machine.slice/libpod-ID.scope". Without a text the scope is "tkadm-ID.scope" in system.slice.
 * @throws CONTAINER_STATE for anything else.
 */
export function parseScopePath(cgroupsPath: string | undefined, id: string): string {
  const parts = cgroupsPath ? cgroupsPath.split(':') : ['', DEFAULT_PREFIX, id];
  const [slice = '', prefix = '', name = ''] = parts;
  if (parts.length !== 3 || name === '')
    throw invalid(id, `"${cgroupsPath}" is not SLICE:PREFIX:NAME, as "--systemd-cgroup" needs it`);
  const unit = `${prefix === '' ? '' : `${prefix}-`}${name}.scope`;
  if (name.endsWith('.slice')) throw invalid(id, `"${name}" is a slice, which holds no processes`);
  if (!UNIT_NAME.test(unit)) throw invalid(id, `"${unit}" is no name of a unit`);
  return `${slicePath(slice || DEFAULT_SLICE, id)}/${unit}`;
}

/** A slice lies in those that its name begins with, systemd.slice(5): "a-b.slice" → "/a.slice/a-b.slice". */
function slicePath(slice: string, id: string): string {
  if (!SLICE_NAME.test(slice)) throw invalid(id, `"${slice}" is no name of a slice`);
  if (slice === '-.slice') return '';
  const words = slice.slice(0, -'.slice'.length).split('-');
  return words.map((_word, index) => `/${words.slice(0, index + 1).join('-')}.slice`).join('');
}

function invalid(id: string, state: string): TkadmError {
  return new TkadmError('CONTAINER_STATE', `Cannot create container "${id}": "linux.cgroupsPath" ${state}`);
}
