import type { ImageSummary } from '../../runtime/cri/image-messages.ts';
import { formatTable } from '../render/table.ts';
import { formatSize } from './size.ts';

/** Its first name, or its id. */
export function describeImage({ id, repoTags }: ImageSummary): string {
  return repoTags.length > 0 ? `${repoTags.join(', ')} (${shortId(id)})` : id;
}

const COLUMNS = ['REPOSITORY', 'TAG', 'IMAGE ID', 'SIZE'] as const;

/** The table of `tkadm image ls`: a row for each tag, "<none>" for an image without one. */
export function formatImageTable(images: readonly ImageSummary[]): string {
  const rows = images.flatMap((image) =>
    (image.repoTags.length > 0 ? image.repoTags : ['<none>:<none>']).map((name) => {
      const colon = name.lastIndexOf(':');
      return [name.slice(0, colon), name.slice(colon + 1), shortId(image.id), formatSize(image.sizeBytes)];
    }),
  );
  return formatTable([COLUMNS, ...rows.sort((a, b) => a.join(' ').localeCompare(b.join(' ')))], 2);
}

/** The first 12 hex digits, as Docker shows them. */
export function shortId(id: string): string {
  return id.slice('sha256:'.length, 'sha256:'.length + 12);
}
