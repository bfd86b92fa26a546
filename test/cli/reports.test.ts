import { describe, expect, it } from 'vitest';
import { junitReport, markdownReport } from '../../src/cli/render/reports.ts';
import type { DrillResult } from '../../src/jobs/drill/types.ts';

const GOOD: DrillResult = {
  source: 'host/container/db',
  snapshot: '20261120T203000Z-4f9c2a',
  started: '2026-11-21T04:00:00.123Z',
  passed: true,
  restoreMs: 1500,
  rtoMs: 2000,
  durationMs: 4000,
  checks: [{ name: 'restore', passed: true, detail: '1 volume', durationMs: 1500 }],
  differences: [],
};
const BAD: DrillResult = {
  ...GOOD,
  source: 'host/container/<shop>',
  passed: false,
  rtoMs: null,
  checks: [
    ...GOOD.checks,
    { name: 'digest of "data"', passed: false, detail: 'a & b | c\u001b[31m < d', durationMs: 20 },
  ],
  differences: [
    { volume: 'data', path: './a|b', what: 'changed', fields: ['mode', 'content'] },
    { volume: 'data', path: './gone', what: 'missing' },
  ],
};

describe('junitReport', () => {
  it('has a suite for each drill, a case for each check, and counts that fit', () => {
    const xml = junitReport([GOOD, BAD]);
    expect(xml).toMatchInlineSnapshot(`
      "<?xml version="1.0" encoding="UTF-8"?>
      <testsuites>
        <testsuite name="volbak drill host/container/db" tests="1" failures="0" errors="0" skipped="0" time="4.000" timestamp="2026-11-21T04:00:00">
          <properties>
            <property name="snapshot" value="20261120T203000Z-4f9c2a"/>
            <property name="rtoMs" value="2000"/>
          </properties>
          <testcase classname="host/container/db" name="restore" time="1.500"/>
        </testsuite>
        <testsuite name="volbak drill host/container/&lt;shop&gt;" tests="2" failures="1" errors="0" skipped="0" time="4.000" timestamp="2026-11-21T04:00:00">
          <properties>
            <property name="snapshot" value="20261120T203000Z-4f9c2a"/>
            <property name="rtoMs" value=""/>
          </properties>
          <testcase classname="host/container/&lt;shop&gt;" name="restore" time="1.500"/>
          <testcase classname="host/container/&lt;shop&gt;" name="digest of &quot;data&quot;" time="0.020">
            <failure message="a &amp; b | c\\u001b[31m &lt; d"/>
          </testcase>
        </testsuite>
      </testsuites>
      "
    `);
  });
});

describe('markdownReport', () => {
  it('names what failed and each file that differs; nothing in a name ends a cell', () => {
    const text = markdownReport([GOOD, BAD]);
    expect(text).toContain('## Trial restores: 1 of 2 failed');
    expect(text).toContain('Snapshot `20261120T203000Z-4f9c2a`, recovered in 2.0 s.');
    expect(text).toContain('not recovered');
    expect(text).toContain('| digest of "data" | **failed** | a & b \\| c\\\\u001b\\[31m \\< d |');
    expect(text).toContain('| data: ./a\\|b | mode, content |');
    expect(text).toContain('| data: ./gone | missing |');
    expect(markdownReport([GOOD])).toContain('## Trial restores: passed');
  });
});
