import { printableText } from '../../core/bytes.ts';

/** Lines of a table with columns as wide as their widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const safe = rows.map((row) => row.map(printableText));
  const widths = head.map((title, i) => Math.max(title.length, ...safe.map((row) => row[i]?.length ?? 0)));
  return [head, ...safe].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
