import { roundUp } from '../../binary/convert.js';
import { DiskError } from '../../error/disk-error.js';
import type { CreatedFormat } from '../../image/image-format.js';
import { procPath, standalone } from '../../image/qemu/block-node.js';
import { createByQemu } from '../../image/qemu/create-image.js';
import type { QemuDevice } from '../../image/qemu/qemu-device.js';
import { openByQemu } from '../../image/qemu/qemu-nbd.js';
import { NewFile, type NewFileOptions, warnOfRounding } from './new-file.js';
import type { Output } from './output.js';
import { WholeBlocks } from './whole-blocks.js';

const sector = 512n;

/** A new file that holds the copy as an image of a format that QEMU writes. Zeros take no room in it. */
export class QemuOutput implements Output {
  readonly blank = true;
  readonly ordered = false;
  readonly #blocks: WholeBlocks;
  #written = 0n;

  private constructor(
    private readonly file: NewFile,
    private readonly disk: QemuDevice,
  ) {
    this.#blocks = new WholeBlocks(disk);
  }

  /**
   * @param options `size`: bytes of the disk
   * @throws {DiskError} as {@link NewFile.create}, {@link createByQemu} and {@link openByQemu}
   */
  static async create(
    path: string,
    options: NewFileOptions,
    format: CreatedFormat,
    signal: AbortSignal | undefined,
  ): Promise<QemuOutput> {
    return await NewFile.createImage(path, options, async (file) => {
      const size = roundUp(options.size, sector);
      await createByQemu(file.fd, { format, size, path, signal });
      const disk = await openByQemu({
        path: options.name,
        node: standalone(format, { driver: 'file', filename: procPath(file.fd) }),
        access: 'write',
        owned: [],
        signal,
        onWarning: options.onWarning,
      });
      warnOfRounding(options, format, disk.facts.size);
      return new QemuOutput(file, disk);
    });
  }

  get name(): string {
    return this.file.name;
  }

  get written(): bigint {
    return this.#written;
  }

  async write(from: Uint8Array, offset: bigint): Promise<void> {
    await this.#blocks.write(from, offset);
    this.#written += BigInt(from.length);
  }

  async zero(): Promise<void> {}

  async finish(): Promise<void> {
    await this.disk.flush();
    // The image is whole when QEMU has ended.
    await this.disk.close();
    if (!this.disk.endedWell) {
      throw new DiskError('IO', `${this.name}: QEMU was ended before the image was whole: copy it again`, {
        device: this.name,
        reason: 'qemu',
      });
    }
    await this.file.finish();
  }

  async discard(): Promise<void> {
    try {
      await this.disk.close();
    } finally {
      await this.file.discard();
    }
  }
}
