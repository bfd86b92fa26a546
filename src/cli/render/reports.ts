import { printableText } from '../../core/bytes.ts';
import { formatDuration } from '../../core/units.ts';
import type { DrillResult } from '../../jobs/drill/types.ts';

function xml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return printableText(text).replace(/[&<>"]/g, (c) => entities[c] as string);
}

/** How long it took to have the service back. */
export function recovery(rtoMs: number | null): string {
  return rtoMs === null ? 'not recovered' : `recovered in ${formatDuration(rtoMs)}`;
}

/** JUnit XML: a suite for each drill, a case for each check. */
export function junitReport(drills: readonly DrillResult[]): string {
  const seconds = (ms: number) => (ms / 1000).toFixed(3);
  const suites = drills.map(({ source, snapshot, started, checks, durationMs, rtoMs }) => {
    const failed = checks.filter(({ passed }) => !passed).length;
    const cases = checks.map(({ name, passed, detail, durationMs: time }) => {
      const head = `    <testcase classname="${xml(source)}" name="${xml(name)}" time="${seconds(time)}"`;
      if (passed) return `${head}/>`;
      return `${head}>\n      <failure message="${xml(detail)}"/>\n    </testcase>`;
    });
    return [
      `  <testsuite name="${xml(`volbak drill ${source}`)}" tests="${checks.length}" failures="${failed}" errors="0" ` +
        `skipped="0" time="${seconds(durationMs)}" timestamp="${started.replace(/\.\d+Z$/, '')}">`,
      '    <properties>',
      `      <property name="snapshot" value="${xml(snapshot)}"/>`,
      `      <property name="rtoMs" value="${rtoMs ?? ''}"/>`,
      '    </properties>',
      ...cases,
      '  </testsuite>',
    ].join('\n');
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join('\n')}\n</testsuites>\n`;
}

function cell(text: string): string {
  return printableText(text).replace(/[\\|<>*_`[\]]/g, (c) => `\\${c}`);
}

/** Markdown for the summary of a CI job. */
export function markdownReport(drills: readonly DrillResult[]): string {
  const failed = drills.filter(({ passed }) => !passed).length;
  const verdict = failed === 0 ? 'passed' : `${failed} of ${drills.length} failed`;
  const lines = [`## Trial restores: ${verdict}`];
  for (const { source, snapshot, passed, rtoMs, checks, differences } of drills) {
    lines.push(
      '',
      `### ${passed ? '✅' : '❌'} ${cell(source)}`,
      '',
      `Snapshot \`${snapshot}\`, ${recovery(rtoMs)}.`,
      '',
      '| check | result | detail |',
      '|---|---|---|',
      ...checks.map((c) => `| ${cell(c.name)} | ${c.passed ? 'passed' : '**failed**'} | ${cell(c.detail)} |`),
    );
    if (differences.length === 0) continue;
    lines.push('', '| file | what |', '|---|---|');
    for (const d of differences.slice(0, 50))
      lines.push(`| ${cell(`${d.volume}: ${d.path}`)} | ${d.fields ? d.fields.join(', ') : d.what} |`);
    if (differences.length > 50) lines.push(`| … | and ${differences.length - 50} more |`);
  }
  return `${lines.join('\n')}\n`;
}
