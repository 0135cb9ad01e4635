import type {
  BlockDevice,
  DeviceFacts,
  RequestOptions,
  WriteOptions,
  ZeroOptions,
} from '../../../src/device/block-device.js';
import type { Bytes, Extent } from '../../../src/device/extent.js';
import { Layer } from '../../../src/device/layer/layer.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

export type Operation = 'read' | 'write' | 'zero' | 'trim' | 'flush' | 'extents';

/** What the server asked of a device. */
export interface Asked {
  readonly operation: Operation;
  readonly offset: Bytes;
  readonly length: Bytes;
  readonly options: ZeroOptions;
}

/** A device in memory that remembers what it was asked for; each operation waits for `meanwhile`, which may reject. */
export class WatchedDevice extends Layer {
  readonly name = 'watched';
  readonly asked: Asked[] = [];
  meanwhile: (asked: Asked) => Promise<void> = () => Promise.resolve();

  constructor(size: bigint, changes: Partial<DeviceFacts> = {}, below: BlockDevice = memoryDevice(size)) {
    super(below, changes);
  }

  protected async doRead(into: Uint8Array, offset: Bytes, options: RequestOptions): Promise<void> {
    await this.#ask('read', offset, BigInt(into.length), options);
    return this.below.read(into, offset);
  }

  protected async doWrite(from: Uint8Array, offset: Bytes, options: WriteOptions): Promise<void> {
    await this.#ask('write', offset, BigInt(from.length), options);
    return this.below.write(from, offset);
  }

  protected async doZero(offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    await this.#ask('zero', offset, length, options);
    return this.below.zero(offset, length, options);
  }

  protected async doTrim(offset: Bytes, length: Bytes, options: WriteOptions): Promise<void> {
    await this.#ask('trim', offset, length, options);
    return this.below.trim(offset, length);
  }

  protected async doFlush(options: RequestOptions): Promise<void> {
    await this.#ask('flush', 0n, 0n, options);
    return this.below.flush();
  }

  protected async doExtents(offset: Bytes, length: Bytes, options: RequestOptions): Promise<readonly Extent[]> {
    await this.#ask('extents', offset, length, options);
    const extents: Extent[] = [];
    for await (const extent of this.below.extents(offset, length)) extents.push(extent);
    return extents;
  }

  #ask(operation: Operation, offset: Bytes, length: Bytes, options: ZeroOptions): Promise<void> {
    const asked = { operation, offset, length, options };
    this.asked.push(asked);
    return this.meanwhile(asked);
  }
}
