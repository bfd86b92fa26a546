import { describe, expect, it } from 'vitest';
import { exitOf, lastWords, readResult, withoutExit } from '../../../src/jobs/fleet/outcome.ts';
import type { NodeResult } from '../../../src/jobs/fleet/types.ts';

const output = (stdout: string, stderr = '') => ({ stdout, stderr });
const node = (exit: number): NodeResult => ({ node: 'n', nodeId: '1', state: 'complete', exit });

describe('what a node printed', () => {
  it('is its summary where it did something, whatever stands around it', () => {
    const lines = [
      '{"event":"info","message":"x"}',
      'noise',
      '{"event":"summary","command":"backup","exit":0}',
      '',
    ];
    expect(readResult(output(lines.join('\n')))).toEqual({
      result: { event: 'summary', command: 'backup', exit: 0 },
    });
  });

  it('is a summary also where that is the only line', () => {
    expect(readResult(output('{"event":"summary","exit":0}\n'))).toEqual({
      result: { event: 'summary', exit: 0 },
    });
  });

  it('is its error where it failed, with the hint', () => {
    const error = { event: 'error', code: 'WRONG_KEY', message: 'm', hint: 'h', exit: 12 };
    expect(readResult(output(`{"event":"info","message":"x"}\n${JSON.stringify(error)}\n`))).toEqual({
      error,
    });
  });

  it('is the whole document where it showed something', () => {
    expect(readResult(output('{\n  "node": "a",\n  "checks": []\n}\n'))).toEqual({
      result: { node: 'a', checks: [] },
    });
  });

  it('is nothing where it was cut off; then its last words on standard error count', () => {
    const cut = output('{"event":"summ', 'first\nnode: out of memory\n');
    expect(readResult(cut)).toEqual({});
    expect(lastWords(cut)).toBe('node: out of memory');
    expect(lastWords(output(''))).toBeUndefined();
  });
});

describe('the exit code of all nodes', () => {
  it.each<[string, number[], number]>([
    ['0 where all did well', [0, 0], 0],
    ['3 where one is incomplete', [0, 3], 3],
    ["the first failure's, also behind an incomplete one", [3, 0, 41, 20], 41],
  ])('%s', (_, exits, expected) => {
    expect(exitOf(exits.map(node))).toBe(expected);
  });

  it('is that of an engine out of reach where a node ran nothing', () => {
    expect(exitOf([node(0), withoutExit('b', '2', 'down', 'the node does not answer')])).toBe(20);
  });
});
