import type { Qcow2Layout } from '../../image/qcow2/writer/plan.js';
import { Qcow2Writer } from '../../image/qcow2/writer/qcow2-writer.js';
import { NewFile, type NewFileOptions, warnOfRounding } from './new-file.js';
import type { Output } from './output.js';

/** A new file that holds the copy as a qcow2 image, which stands on no other. Zeros take no room in it. */
export class Qcow2Output implements Output {
  readonly blank = true;
  readonly ordered = true;

  private constructor(
    private readonly file: NewFile,
    private readonly writer: Qcow2Writer,
  ) {}

  /**
   * @param options `size`: bytes of the disk
   * @throws {DiskError} as {@link NewFile.create}; USAGE, UNSUPPORTED when qcow2 has no such image
   */
  static async create(path: string, options: NewFileOptions, layout: Qcow2Layout): Promise<Qcow2Output> {
    return await NewFile.createImage(path, options, (file) => {
      const writer = new Qcow2Writer(file, { ...layout, size: options.size });
      warnOfRounding(options, 'qcow2', writer.virtualSize);
      return new Qcow2Output(file, writer);
    });
  }

  get name(): string {
    return this.file.name;
  }

  get written(): bigint {
    return this.file.written;
  }

  write(from: Uint8Array, offset: bigint): Promise<void> {
    return this.writer.write(from, offset);
  }

  async zero(): Promise<void> {}

  async finish(): Promise<void> {
    await this.writer.finish();
    await this.file.finish();
  }

  async discard(): Promise<void> {
    await this.writer.abandon();
    await this.file.discard();
  }
}
