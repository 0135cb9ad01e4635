import { expect } from 'vitest';
import { extended, type RawClient, type RawRequest, request, type Style, WRITE } from '../raw-client.js';

const PAYLOAD_LEN = 32;
const DONE = 1;
const NONE = 0;

/** A request in the header of a style, with the payload that goes with it. */
export function ask(client: RawClient, style: Style, fields: RawRequest): void {
  const payload = fields.type === WRITE ? Buffer.alloc(Number(fields.length ?? 0), 0x55) : Buffer.alloc(0);
  if (style !== 'extended') client.send(request(fields), payload);
  else
    client.send(
      extended({ ...fields, flags: (fields.flags ?? 0) | (fields.type === WRITE ? PAYLOAD_LEN : 0) }),
      payload,
    );
}

/** The error of the next reply, however that is written; 0: success. Checks what every reply must be. */
export async function outcome(client: RawClient, style: Style, cookie: bigint, offset = 0n, size = 0): Promise<number> {
  if (style === 'simple') {
    const reply = await client.simple(size);
    expect(reply.cookie).toBe(cookie);
    return reply.error;
  }
  let error = 0;
  for (;;) {
    // Of a structured reply only what has data, or an error of READ, must be chunks.
    const magic = (await client.peek(4)).readUInt32BE(0);
    if (style === 'structured' && magic === 0x67446698) {
      const reply = await client.simple();
      expect(reply.cookie).toBe(cookie);
      return reply.error;
    }
    const chunk = style === 'structured' ? await client.chunk() : await client.extendedChunk();
    expect(chunk.cookie).toBe(cookie);
    if ('offset' in chunk) expect(chunk.offset).toBe(offset);
    if (chunk.type >= 0x8000) {
      error = chunk.data.readUInt32BE(0);
      expect(error).toBeGreaterThan(0);
    }
    if (chunk.type === NONE) expect({ flags: chunk.flags, data: chunk.data.length }).toEqual({ flags: DONE, data: 0 });
    if ((chunk.flags & DONE) !== 0) return error;
  }
}
