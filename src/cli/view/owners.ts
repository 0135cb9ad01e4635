import type { Owner, OwnersOfByte, OwnersReport } from '../../task/block-map/owners.js';
import type { Unowned } from '../../task/block-map/unowned.js';
import { pathText, textDocument } from '../path-text.js';
import { printable } from '../printable.js';
import { notSurveyedDocument } from './block-map.js';

/** A paragraph for each byte: who has it, from the whole disk inwards. */
export function describeOwners({ bytes }: OwnersReport): string {
  return bytes.map(describeByte).join('\n\n');
}

function describeByte({ offset, owners, unowned }: OwnersOfByte): string {
  const wide = Math.max(...owners.map(({ device }) => device.length));
  const lines = owners.map((owner) => {
    const { kind, device, deviceOffset } = owner;
    const what = whatOf(owner);
    return `  ${kind}  ${device.padEnd(wide)}  byte ${deviceOffset}${what === '' ? '' : `: ${what}`}`;
  });
  const none = unowned === undefined ? [] : [`  ${describeUnowned(unowned)}`];
  return [`byte ${offset} (0x${offset.toString(16)}, sector ${offset / 512n})`, ...lines, ...none].join('\n');
}

/** The partition table, or why it is nobody's. */
export function describeUnowned({ kind, reason }: Pick<Unowned, 'kind' | 'reason'>): string {
  return kind === 'partition-table' ? reason : `nobody: ${printable(reason)}`;
}

const unreadWords = { unwritten: ', unwritten: it reads as zeros', 'past-end': ', behind its end' } as const;

function whatOf({ kind, metadata, path, fileOffset, unread }: Owner): string {
  const name = path === undefined ? undefined : pathText(path);
  switch (kind) {
    case 'm':
      return name === undefined ? `${metadata}` : `${metadata} of ${name}`;
    case 'f':
    case 'd': {
      const where = fileOffset === undefined ? `${name}` : `byte ${fileOffset} of ${name}`;
      return `${where}${unread === undefined ? '' : unreadWords[unread]}`;
    }
    case 's':
      return 'swap space';
    case 'u':
      return 'free space';
    default:
      return '';
  }
}

/** For `--json`. */
export function ownersDocument({ bytes, leftOut }: OwnersReport): object {
  return {
    bytes: bytes.map(({ owners, ...byte }) => ({
      ...byte,
      owners: owners.map(({ path, ...owner }) => ({ ...owner, ...textDocument('path', path) })),
    })),
    leftOut: notSurveyedDocument(leftOut),
  };
}
