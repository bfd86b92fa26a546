import { printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { StderrLog } from '../../engine/run-helper.ts';
import { type Complaint, parseComplaint } from '../../tar/complaints.ts';

/** What came out of a reading tar, once its end proved clean. */
export interface TarVerdict {
  complaints: Complaint[];
  /** Listed, but not delivered; each of them is named by a complaint. */
  missing: string[];
}

interface End {
  missing: string[];
  missingCount: number;
}

/**
 * Decides whether a reading tar ended cleanly (architecture.md, invariant 2): exit 0; or 1 or 2 where every line of
 * stderr names a member and each listed member was delivered or named. Raises HELPER_FAILED for anything else.
 */
export function judgeTar(exitCode: number, stderr: StderrLog, end: End | VolbakError): TarVerdict {
  const lines = stderr.lines;
  if (exitCode > 2) throw tarFailed(exitCode, lines);
  if (end instanceof VolbakError) {
    throw exitCode === 0 ? end : tarFailed(exitCode, [...lines, end.message]);
  }
  const complaints: Complaint[] = [];
  for (const line of lines) {
    const complaint = parseComplaint(line);
    if (complaint === undefined) throw tarFailed(exitCode, [line]);
    if (complaint !== 'summary') complaints.push(complaint);
  }
  if (stderr.cut) throw tarFailed(exitCode, ['too many complaints to name them all', ...lines.slice(-1)]);
  const named = new Set(complaints.map((complaint) => complaint.path));
  const silent = end.missing.find((path) => !named.has(path));
  if (silent !== undefined || end.missingCount > end.missing.length) {
    const which = silent === undefined ? `${end.missingCount} files` : printable(silent);
    throw new VolbakError('HELPER_FAILED', `tar did not deliver ${which} and did not say why`);
  }
  return { complaints, missing: end.missing };
}

function tarFailed(exitCode: number, lines: string[]): VolbakError {
  const why = lines.length > 0 ? printable(lines.at(-1) ?? '') : 'it said nothing';
  return new VolbakError(
    'HELPER_FAILED',
    `reading the volume failed: the helper ended with exit code ${exitCode}: ${why}`,
    {
      ...(exitCode === 137
        ? { hint: 'The helper was killed: by hand, by the engine, or for lack of memory.' }
        : {}),
    },
  );
}
