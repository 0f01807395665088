export const runImageBuild = async (..._: unknown[]) => {
  throw new Error('not merged');
};
export const runImageLoad = runImageBuild,
  runImageSave = runImageBuild,
  runImagePull = runImageBuild,
  runImagePush = runImageBuild,
  runImageList = runImageBuild,
  runImageRemove = runImageBuild;
