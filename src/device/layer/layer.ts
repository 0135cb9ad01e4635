import { BlockDevice, type DeviceFacts } from '../block-device.js';

/**
 * A device over one other, which it owns: closing the layer closes what lies under it.
 *
 * Its facts are those below without its host file, and it never peeks: what goes through a layer goes through all of it.
 */
export abstract class Layer extends BlockDevice {
  readonly facts: DeviceFacts;

  protected constructor(
    protected readonly below: BlockDevice,
    changes: Partial<DeviceFacts> = {},
  ) {
    super();
    this.facts = Object.freeze({ ...below.facts, hostFile: undefined, guardedFile: undefined, ...changes });
  }

  protected doPeek(): undefined {
    return undefined;
  }

  protected doClose(): Promise<void> {
    return this.below.close();
  }
}
