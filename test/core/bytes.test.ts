import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromText, printable, printableText, toBytes, toText } from '../../src/core/bytes.ts';

describe('ByteString', () => {
  it('keeps any bytes, and any text', () => {
    fc.assert(fc.property(fc.uint8Array(), (b) => toBytes(Buffer.from(b).toString('latin1')).equals(b)));
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => toText(fromText(text)) === text));
  });

  it('has no text where its bytes are not UTF-8', () => {
    expect(toText('\xff')).toBeUndefined();
    expect(toText('caf\xe9')).toBeUndefined();
    expect(toText('caf\xc3\xa9')).toBe('café');
    expect(toText('\xed\xa0\x80')).toBeUndefined();
  });
});

describe('printable', () => {
  it.each([
    ['./plain name', './plain name'],
    ['./new\nline', './new\\nline'],
    ['./\r\t\x1b[31m\x07', './\\r\\t\\u001b[31m\\u0007'],
    ['./caf\xc3\xa9', './café'],
    ['./caf\xe9\n', './caf\\xe9\\x0a'],
    [fromText('./\u{1f433}'), './\u{1f433}'],
    [fromText('./a\u202egpj.exe'), './a\\u202egpj.exe'],
    [fromText('./\u009b31m'), './\\u009b31m'],
    [fromText('./\u2028\u2029'), './\\u2028\\u2029'],
    [fromText('./\u2066x\u2069'), './\\u2066x\\u2069'],
    [fromText('./\u061c'), './\\u061c'],
    ['./\x7f', './\\u007f'],
  ])('shows %j as %j', (name, shown) => {
    expect(printable(name)).toBe(shown);
  });

  it('never lets through what a terminal acts on', () => {
    const hostile = fc.uint8Array({ maxLength: 30 }).map((b) => Buffer.from(b).toString('latin1'));
    const text = fc.string({ unit: 'binary' });
    const acts = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u;
    fc.assert(
      fc.property(hostile, (name) => !acts.test(printable(name))),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(text, (t) => !acts.test(printableText(t))),
      { numRuns: 2000 },
    );
    for (let c = 0; c < 0x3000; c++)
      expect(acts.test(printableText(String.fromCharCode(c))), c.toString(16)).toBe(false);
  });
});
