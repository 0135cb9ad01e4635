import { Args } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { explain } from '../src/cli/failure.js';
import { type SparsifyAsked, sparsifyAsked, sparsifyFlags } from '../src/cli/sparsify-flags.js';
import { describeRestore, describeSparsify } from '../src/cli/view/sparsify.js';
import type { TaskContext } from '../src/task/context.js';
import { reportStatus, type SparsifyReport } from '../src/task/sparsify/report.js';
import { sparsify } from '../src/task/sparsify/sparsify.js';
import { sparsifyCopy } from '../src/task/sparsify/sparsify-copy.js';
import type { RestoreReport } from '../src/task/sparsify/undo/restore.js';

interface Performed {
  readonly report: SparsifyReport | RestoreReport;
  /** The report, for people. */
  readonly words: string;
  /** The exit status that it calls for. */
  readonly status: number;
}

export default class Sparsify extends BaseCommand<typeof Sparsify> {
  static override summary = 'make disk images small again';
  static override description =
    `Finds what the filesystems in an image call free, and what of LVM2 volume groups no logical volume has, from their own metadata, and gives it back to the host: in place, or by writing a copy without it (--output). Then gives back what is zeros anyway.

No byte in use is touched, and the image is whole whenever the work is stopped. A filesystem whose word cannot be believed (it has errors, its guest is hibernated) is left alone, and so is a volume group that is not whole; the status is then 3.

The journal of an ext3 or ext4 filesystem that was not unmounted, because its guest crashed, is replayed in memory: what is free before and after that is given back, and the journal stays for the guest to replay. One that is damaged, or irregular in any way, is not replayed, and its filesystem left alone; so it is under --no-replay.

A qcow2 image is changed by QEMU's own hand (qemu-nbd). Before that it is refused when it holds internal snapshots, needs a repair, or keeps its data elsewhere; and, without --force, when it stands on a backing file, of which nothing is given back. An image that another one stands on must never be changed: those in its own folder are looked at, and overlays that lie elsewhere and are not in use cannot be found. Images of other formats are not changed in place: --output writes a copy.

--undo keeps what is given back, and --restore puts it back: until a guest has written to the disk again, the image can be made byte for byte what it was. What it was is known by its size and by SHA-256 of every MiB of what is in use, not by its name. The undo file is sparse: behind a header of 1 MiB, every block that was not all zeros lies at its own place on the disk; behind that is a log, a record for each part of the disk, with SHA-256 of each piece. A part is given back once its data and its record are on the disk. So of a run that was killed, or ran out of room for the undo file, all that was given back comes back. A file that was damaged since is refused.`;
  static override examples = [
    { description: 'Shrink an image in place', command: '<%= config.bin %> sparsify guest.img' },
    { description: 'See what that would give back', command: '<%= config.bin %> sparsify --dry-run guest.img' },
    {
      description: 'Write a small copy and leave the image as it is',
      command: '<%= config.bin %> sparsify guest.img --output small.img',
    },
    {
      description: 'Write it as a compressed qcow2 image',
      command: '<%= config.bin %> sparsify guest.img --output small.qcow2 --convert qcow2 --compress zstd',
    },
    {
      description: 'Shrink an image, and be able to take it back',
      command: '<%= config.bin %> sparsify guest.img --verify --undo guest.undo',
    },
    {
      description: 'Take it back: the image is byte for byte what it was',
      command: '<%= config.bin %> sparsify --restore guest.undo guest.img',
    },
    { description: 'Leave one filesystem alone', command: '<%= config.bin %> sparsify guest.img --ignore /dev/sda2' },
  ];
  // oclif's own would be a paragraph of what excludes what.
  static override usage = 'sparsify IMAGE... [--output OUT | --restore FILE] [FLAGS]';
  static override enableJsonFlag = true;
  static override args = {
    image: Args.string({
      description: 'the disk images: files, block devices or NBD URIs',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  };

  static override flags = sparsifyFlags;

  async run(): Promise<{ images: readonly (SparsifyReport | object)[] }> {
    const { image: images } = this.args;
    const asked = sparsifyAsked(images, this.flags);
    const reports: (SparsifyReport | object)[] = [];
    for (const image of images) {
      try {
        const { report, words, status } = await this.withProgress(`sparsify ${image}`, (context) =>
          this.#perform(image, asked, context),
        );
        reports.push(report);
        if (!this.jsonEnabled()) this.log(words);
        if (this.status === 0) this.status = status;
      } catch (error) {
        // The only image, or a signal: that is the end. Else the others go on.
        if (images.length === 1 || this.signal.aborted) throw error;
        const { message, document } = explain(error);
        this.complain(message);
        reports.push({ image, ...document });
        this.status = 1;
      }
    }
    return { images: reports };
  }

  async #perform(image: string, asked: SparsifyAsked, context: TaskContext): Promise<Performed> {
    if (asked.what === 'restore') {
      // Who gives back need not wait for it to load.
      const { restore } = await import('../src/task/sparsify/undo/restore.js');
      const report = await restore(asked.undo, image, asked.options, context);
      return { report, words: describeRestore(report), status: 0 };
    }
    const report =
      asked.what === 'copy'
        ? await sparsifyCopy(image, asked.output, asked.options, context)
        : await sparsify(image, asked.options, context);
    return { report, words: describeSparsify(report), status: reportStatus(report, this.flags.strict) };
  }
}
