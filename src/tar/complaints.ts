import type { ByteString } from '../core/bytes.ts';
import { normalisePath } from './names.ts';

export interface Complaint {
  path: ByteString;
  message: string;
  /** `warning`: the member is whole; otherwise it may not be. */
  kind: 'changed' | 'vanished' | 'unreadable' | 'warning';
}

/** What GNU tar 1.34 and 1.35 say at the end of a line after a member's name. */
const TAILS =
  'file changed as we read it|File removed before we read it|File shrank by .*|Warning: .*|Cannot .*|Read error .*|' +
  'Unknown file type.*|socket ignored|door ignored|.*: Cannot .*|[Tt]ime ?stamp .*|implausibly old time stamp .*';
const LINE = new RegExp(`^(?:/\\S*/)?tar: (\\.(?:/.*?)?): (${TAILS})$`, 's');
const SUMMARY = /^(?:\/\S*\/)?tar: (Exiting with failure status|Error is not recoverable|Error exit delayed)/;

/** Undoes GNU tar's `--quoting-style=escape`. */
export function unescapeName(name: string): ByteString {
  const NAMED: Record<string, string> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' };
  return name.replace(/\\([0-7]{3}|.)/gs, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (NAMED[code] ?? code),
  );
}

/** Reads one line of tar's stderr: a complaint about a member, 'summary' where it adds nothing, else undefined. */
export function parseComplaint(line: string): Complaint | 'summary' | undefined {
  if (SUMMARY.test(line)) return 'summary';
  const match = LINE.exec(line);
  if (!match) return undefined;
  const [, name = '', message = ''] = match;
  return { path: normalisePath(unescapeName(name)), message, kind: kindOf(message) };
}

function kindOf(message: string): Complaint['kind'] {
  if (/^(Warning: |[Tt]ime ?stamp|implausibly|socket|door)/.test(message)) return 'warning';
  if (/^file changed|^File shrank/.test(message)) return 'changed';
  if (/^File removed|No such file or directory$/.test(message)) return 'vanished';
  return 'unreadable';
}
