import { hex } from '../../error/message.js';
import { errnoOf } from '../../host/errno.js';
import type { BlockDevice } from '../block-device.js';
import { Interceptor, type Passing } from './interceptor.js';

/**
 * Tells of each request when it begins and when it ends, a line each, numbered so that the two can be matched:
 *
 *     7 write offset=0x1000 length=0x200 flags=fua
 *     7 end microseconds=112 result=ok
 */
export class LogLayer extends Interceptor {
  #last = 0;

  /** @param tell takes a line without its end */
  constructor(
    below: BlockDevice,
    private readonly tell: (line: string) => void,
  ) {
    super(below, 'log');
  }

  protected around<Result>(
    { operation, offset, length, options }: Passing,
    next: () => Promise<Result>,
  ): Promise<Result> {
    const number = ++this.#last;
    const flags = (['fua', 'mayTrim', 'fast'] as const).filter((flag) => options[flag] === true);
    const said = flags.length === 0 ? '' : ` flags=${flags.join(',')}`;
    this.tell(`${number} ${operation} offset=${hex(offset)} length=${hex(length)}${said}`);
    const start = performance.now();
    const end = (result: string) =>
      this.tell(`${number} end microseconds=${Math.round((performance.now() - start) * 1000)} result=${result}`);
    return next().then(
      (result) => {
        end('ok');
        return result;
      },
      (error: unknown) => {
        end(errnoOf(error) ?? 'failed');
        throw error;
      },
    );
  }
}
