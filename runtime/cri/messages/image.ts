import type { MessageOf } from '../../base/protobuf.ts';
import { map, message, repeated } from '../../base/protobuf.ts';
import { PodSandboxConfig } from './sandbox.ts';
import { Int64Value, UInt64Value } from './values.ts';

// CRI v1: images.

export const ImageSpec = message({
  image: [1, 'string'],
  annotations: [2, map('string', 'string')],
  userSpecifiedImage: [18, 'string'],
  runtimeHandler: [19, 'string'],
  imageRef: [20, 'string'],
});
export type ImageSpec = MessageOf<typeof ImageSpec>;

export const ImageFilter = message({ image: [1, ImageSpec] });
export const ListImagesRequest = message({ filter: [1, ImageFilter] });

export const Image = message({
  id: [1, 'string'],
  repoTags: [2, repeated('string')],
  repoDigests: [3, repeated('string')],
  size: [4, 'uint64'],
  uid: [5, Int64Value],
  username: [6, 'string'],
  spec: [7, ImageSpec],
  pinned: [8, 'bool'],
});
export type Image = MessageOf<typeof Image>;

export const ListImagesResponse = message({ images: [1, repeated(Image)] });
export const StreamImagesRequest = message({ filter: [1, ImageFilter] });
export const StreamImagesResponse = message({ images: [1, repeated(Image)] });
export const ImageStatusRequest = message({ image: [1, ImageSpec], verbose: [2, 'bool'] });
export const ImageStatusResponse = message({ image: [1, Image], info: [2, map('string', 'string')] });

export const AuthConfig = message({
  username: [1, 'string'],
  password: [2, 'string'],
  auth: [3, 'string'],
  serverAddress: [4, 'string'],
  identityToken: [5, 'string'],
  registryToken: [6, 'string'],
});
export type AuthConfig = MessageOf<typeof AuthConfig>;

export const PullImageRequest = message({
  image: [1, ImageSpec],
  auth: [2, AuthConfig],
  sandboxConfig: [3, PodSandboxConfig],
});
export const PullImageResponse = message({ imageRef: [1, 'string'] });
export const RemoveImageRequest = message({ image: [1, ImageSpec] });
export const RemoveImageResponse = message({});
export const ImageFsInfoRequest = message({});

export const FilesystemIdentifier = message({ mountpoint: [1, 'string'] });

export const FilesystemUsage = message({
  timestamp: [1, 'int64n'],
  fsId: [2, FilesystemIdentifier],
  usedBytes: [3, UInt64Value],
  inodesUsed: [4, UInt64Value],
});
export type FilesystemUsage = MessageOf<typeof FilesystemUsage>;

export const ImageFsInfoResponse = message({
  imageFilesystems: [1, repeated(FilesystemUsage)],
  containerFilesystems: [2, repeated(FilesystemUsage)],
});
