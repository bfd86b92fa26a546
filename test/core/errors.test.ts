import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  ERROR_CODES,
  EXIT_PARTIAL,
  isVolbakError,
  toVolbakError,
  VolbakError,
} from '../../src/core/errors.ts';

const page = readFileSync(path.join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
/** Rows of the page's tables: code (in backquotes) or nothing, exit code, meaning, what to do. */
const rows = page
  .split('\n')
  .map((line) => /^\| (?:`([A-Z_]+)`|–) \| (\d+) \| (.+) \| (.+) \|$/.exec(line))
  .filter((match) => match !== null)
  .map(([, code, exit, meaning = '', todo = '']) => ({ code, exit: Number(exit), meaning, todo }));

describe('docs/errors.md', () => {
  it('lists exactly the codes there are, with their exit codes', () => {
    const listed = rows.flatMap(({ code, exit }) => (code ? [[code, exit] as const] : []));
    expect(Object.fromEntries(listed)).toEqual(ERROR_CODES);
    expect(listed).toHaveLength(Object.keys(ERROR_CODES).length);
  });

  it('lists success and incomplete results, too', () => {
    expect(rows.filter(({ code }) => !code).map(({ exit }) => exit)).toEqual([0, EXIT_PARTIAL]);
  });

  it('is in the order of exit codes, and says of each what to do', () => {
    const exits = rows.map(({ exit }) => exit);
    expect(exits).toEqual([...exits].sort((a, b) => a - b));
    for (const { meaning, todo } of rows) expect(Math.min(meaning.length, todo.length)).toBeGreaterThan(4);
  });
});

describe('VolbakError', () => {
  it('carries code, exit code, hint and cause', () => {
    const cause = new Error('inner');
    const error = new VolbakError('STORE_FULL', 'no space', { hint: 'Make room.', cause, retryable: true });
    expect(error).toMatchObject({
      code: 'STORE_FULL',
      exitCode: 32,
      hint: 'Make room.',
      retryable: true,
      cause,
    });
    expect(isVolbakError(error)).toBe(true);
    expect(isVolbakError(error, 'STORE_FULL')).toBe(true);
    expect(isVolbakError(error, 'USAGE')).toBe(false);
    expect(isVolbakError(cause)).toBe(false);
  });

  it('wraps whatever else was thrown, and passes itself', () => {
    const known = new VolbakError('USAGE', 'x');
    expect(toVolbakError(known)).toBe(known);
    expect(toVolbakError('text')).toMatchObject({
      code: 'UNEXPECTED',
      message: 'text',
      cause: 'text',
      exitCode: 1,
    });
    expect(toVolbakError(undefined)).toMatchObject({ code: 'UNEXPECTED' });
  });
});
