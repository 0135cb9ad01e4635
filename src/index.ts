/** disktool as a library: the tasks behind the commands, and what they stand on. */

export { Placement, type Segment } from './binary/placement.js';
export { type Range, RangeSet } from './binary/range-set.js';
export {
  BlockDevice,
  type DeviceFacts,
  type RequestOptions,
  type Support,
  type WriteOptions,
  type ZeroOptions,
} from './device/block-device.js';
export type { Bytes, Extent } from './device/extent.js';
export type { Delays } from './device/layer/delay.js';
export type { ErrorOptions } from './device/layer/error.js';
export type { Rounding } from './device/layer/round.js';
export { Slice } from './device/layer/slice.js';
export { type LayerOptions, withLayers } from './device/layer/stack.js';
export type { StatsLayer } from './device/layer/stats.js';
export { memoryDevice } from './device/memory-device.js';
export { DiskError, type ErrorCode, hasCode } from './error/disk-error.js';
export type {
  DeviceNumber,
  DirectoryEntry,
  FileAttributes,
  FileExtent,
  FileObject,
  FileType,
  Xattr,
} from './filesystem/file.js';
export type {
  Filesystem,
  FilesystemState,
  LookupOptions,
  MetadataExtent,
  Usage,
  WalkEntry,
  WalkOptions,
} from './filesystem/filesystem.js';
export { type FoundFilesystem, findFilesystem } from './guest/find-filesystem.js';
export { findVolume } from './guest/find-volume.js';
export { type FreeSpace, type FreeSpaceOptions, findFreeSpace, type LeftAlone } from './guest/free-space.js';
export { type Content, type Guest, type LeftVolume, type LogicalFacts, openGuest, type Volume } from './guest/guest.js';
export type { ImageFormat } from './image/image-format.js';
export { type OpenOptions, openImage } from './image/open-image.js';
export type { AgentAddress } from './machine/agent.js';
export {
  type BadSectors,
  type BadSectorsOptions,
  type BadStatus,
  readBadSectors,
} from './task/block-map/bad-sectors.js';
export { type BlockMap, type BlockMapOptions, blockMap } from './task/block-map/block-map.js';
export {
  type Damage,
  type DamagedFile,
  type DamagedPlace,
  type DamageOptions,
  findDamage,
} from './task/block-map/damage.js';
export { type DiskExtent, type FileOnDisk, openFileOnDisk } from './task/block-map/file-extents.js';
export type { LineKind, MapLine, MapLines } from './task/block-map/map-lines.js';
export { type Owner, type OwnersOfByte, type OwnersReport, ownersOf } from './task/block-map/owners.js';
export type { BlockMapCounts, NotSurveyed } from './task/block-map/survey.js';
export type { Unowned } from './task/block-map/unowned.js';
export { bmapFile } from './task/bmap.js';
export { cat } from './task/cat.js';
export {
  type ComparedFacts,
  type ComparedImage,
  type CompareOptions,
  type Comparison,
  compareImages,
  type Difference,
} from './task/compare.js';
export type { Progress, TaskContext } from './task/context.js';
export type { Conversion } from './task/conversion.js';
export { type CopyImageOptions, type CopyImageResult, copyImage } from './task/copy.js';
export type { CopyResult } from './task/copy-device.js';
export { type CopyOutOptions, type CopyOutResult, copyOut } from './task/copy-out/copy-out.js';
export { type DownloadOptions, type DownloadResult, download } from './task/download.js';
export {
  type ExposedFile,
  type ExposeOptions,
  type ExposeReady,
  type ExposeResult,
  expose,
} from './task/expose/expose.js';
export { unexpose } from './task/expose/unmount.js';
export { type FreezeOptions, type FreezeResult, freeze } from './task/freeze.js';
export { type FreezeStatus, freezeStatus, type MountStatus } from './task/freeze-status.js';
export { guestStatus } from './task/guest-status.js';
export { type DiskInfo, type ImageFacts, type InfoOptions, imageInfo, type LogicalVolumeInfo } from './task/info.js';
export type { LeftOut } from './task/left-out.js';
export { type FileListing, type ListedFile, type ListFilesOptions, listFiles } from './task/list-files.js';
export { type Listing, type ListOptions, listFilesystems } from './task/list-filesystems.js';
export { type Allocation, type ImageMap, type MapOptions, openMap } from './task/map.js';
export { type ServeOptions, serve } from './task/serve/serve.js';
export { type SnapshotOptions, type SnapshotResult, snapshot } from './task/snapshot/snapshot.js';
export type { SparsifyReport, VolumeReport } from './task/sparsify/report.js';
export { type SparsifyOptions, sparsify } from './task/sparsify/sparsify.js';
export { type SparsifyCopyOptions, sparsifyCopy } from './task/sparsify/sparsify-copy.js';
export { type RestoreOptions, type RestoreReport, restore } from './task/sparsify/undo/restore.js';
export { thaw } from './task/thaw.js';
export { thawAll, thawGuest } from './task/thaw-guest.js';
export { zerofill } from './task/zerofill/zerofill.js';
export type { Partition, PartitionTable } from './volume/partition-table.js';
