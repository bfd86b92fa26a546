import { isUtf8 } from 'node:buffer';

/**
 * A file name as the kernel has it: any bytes but NUL. Held as a "latin1" string, one character a byte,
 * so that it compares, hashes and keys a Map bytewise without a Buffer for each name.
 */
export type ByteString = string;

/** The bytes of a ByteString. */
export function toBytes(name: ByteString): Buffer {
  return Buffer.from(name, 'latin1');
}

/** A ByteString from UTF-8 text, for example from a command line. */
export function fromText(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** UTF-8 text of a ByteString, or undefined where its bytes are not UTF-8. */
export function toText(name: ByteString): string | undefined {
  if (isAscii(name)) return name;
  const bytes = toBytes(name);
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}

function isAscii(name: ByteString): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > 0x7f) return false;
  return true;
}

/**
 * A name for a person's eyes: control characters, bidirectional marks and bytes that are not UTF-8
 * are escaped, so that a hostile name can neither move a cursor nor forge a line.
 */
export function printable(name: ByteString): string {
  const text = toText(name);
  if (text === undefined) {
    return name.replace(/[^\x20-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  }
  return printableText(text);
}

const NAMED: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Escapes what a terminal would act on in text of unknown origin; see `printable`. */
export function printableText(text: string): string {
  return text.replace(
    /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (c) => NAMED[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
