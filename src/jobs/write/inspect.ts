import { printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { READ_CAPABILITIES } from '../../engine/helper.ts';
import { PROBE_SCRIPT } from '../../engine/lanes/pipe.ts';
import { collectOutput } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';
import { runProbing } from '../read/list.ts';
import { STAGE_NAME } from './stage-script.ts';

/** What lies at the root of a volume that is to be written. */
export interface TargetState {
  /** Names at its root, a few of them, printable; empty: the volume is empty. */
  entries: string[];
  /** Bytes and files that can still be written there. */
  available: number;
  inodes: number;
  fsType: string;
  /** Stages that other runs left there, or are working in. */
  stages: string[];
  /** Where something else is mounted inside of it, printable, relative to its root. */
  mounts: string[];
}

/**
 * What mkfs puts into a file system of its own is no content. Places of mounts come from the kernel with blanks and
 * backslashes as octal escapes.
 */
const INSPECT_SCRIPT = `
${PROBE_SCRIPT}
for d in "$@"; do
  printf 'FREE %s\\0' "$(stat -f -c '%a %S %c %d %T' "$d")"
  find "$d" -mindepth 1 -maxdepth 1 ! -name lost+found -printf 'NAME %y %f\\0' || exit 97
  while read -r _ _ _ _ place _; do
    case $place in "$d"/*) printf 'MOUNT %s\\0' ".\${place#"$d"}" ;; esac
  done </proc/self/mountinfo
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
    const [kind = '', ...rest] = record.split(' ');
    const text = rest.join(' ');
    if (kind === 'FREE') {
      current = parseFree(rest);
      states.set(names[states.size] as string, current);
    } else if (kind === 'NAME' && current) {
      addEntry(current, text);
    } else if (kind === 'MOUNT' && current) {
      current.mounts.push(printable(text));
    }
  }
  return states;
}

function parseFree([blocks = '0', size = '0', inodes = '0', free = '0', fsType = '']: string[]): TargetState {
  return {
    entries: [],
    available: Number(blocks) * Number(size),
    // A file system without a table of inodes (btrfs) has none in all.
    inodes: Number(inodes) === 0 ? Number.POSITIVE_INFINITY : Number(free),
    fsType,
    stages: [],
    mounts: [],
  };
}

function addEntry(state: TargetState, text: string): void {
  const name = text.slice(2);
  if (text.startsWith('d ') && STAGE_NAME.test(name)) state.stages.push(name);
  else if (state.entries.length < 5) state.entries.push(printable(name));
}
