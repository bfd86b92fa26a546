import { printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { READ_CAPABILITIES } from '../../engine/helper.ts';
import { PROBE_SCRIPT } from '../../engine/lanes/pipe.ts';
import { collectOutput } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';
import { runProbing } from '../read/list.ts';

/** What lies at the root of a volume that is to be written. */
export interface TargetState {
  /** Names at its root, a few of them, printable; empty: the volume is empty. */
  entries: string[];
  /** Bytes that can still be written there. */
  available: number;
}

/** What mkfs puts into a file system of its own is no content. */
const INSPECT_SCRIPT = `
${PROBE_SCRIPT}
for d in "$@"; do
  printf 'FREE %s\\0' "$(stat -f -c '%a %S' "$d")"
  find "$d" -mindepth 1 -maxdepth 1 ! -name lost+found -printf 'NAME %f\\0' || exit 97
done
`;

/** Looks at volumes before they are written; the first call also finds out which lane works. */
export async function inspectTargets(
  ctx: EngineContext,
  attachment: Attachment,
): Promise<Map<string, TargetState>> {
  const volumes = [...attachment.paths];
  const run = await runProbing(
    ctx,
    {
      image: ctx.image,
      purpose: 'inspect',
      script: INSPECT_SCRIPT,
      args: volumes.map(([, path]) => path),
      mounts: attachment.mounts.map((mount) => ({ ...mount, readOnly: true })),
      capabilities: READ_CAPABILITIES,
    },
    collectOutput,
  );
  if (run.exitCode !== 0) {
    throw new VolbakError(
      'HELPER_FAILED',
      `looking at the target volumes failed: ${run.stderr.lines.at(-1) ?? ''}`,
    );
  }
  return parseStates(
    run.result,
    volumes.map(([name]) => name),
  );
}

function parseStates(output: Buffer, names: readonly string[]): Map<string, TargetState> {
  const states = new Map<string, TargetState>();
  let current: TargetState | undefined;
  for (const record of output.toString('latin1').split('\0')) {
    if (record.startsWith('FREE ')) {
      const [blocks = 0, size = 0] = record.slice(5).split(' ').map(Number);
      current = { entries: [], available: blocks * size };
      states.set(names[states.size] as string, current);
    } else if (record.startsWith('NAME ') && current && current.entries.length < 5) {
      current.entries.push(printable(record.slice(5)));
    }
  }
  return states;
}
