import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { WRITE_CAPABILITIES } from '../../engine/helper.ts';
import { collectOutput, runHelper } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';
import { NO_DIRECTORY } from '../read/scripts.ts';

/** Reads commands: helpers need not have xargs. The last one says that all of them came. */
const REMOVE_SCRIPT = `cd "$1" || exit ${NO_DIRECTORY}\nexec /bin/sh -e -s\n`;

const LINE = 64 * 1024;

/** Paths as a script that removes them: in single quotes nothing has a meaning but the quote itself. */
export function* removeCommands(paths: Iterable<string>): Generator<Buffer> {
  let line = '';
  for (const path of paths) {
    line += ` '${path.replaceAll("'", "'\\''")}'`;
    if (line.length < LINE) continue;
    yield Buffer.from(`rm -rf --${line} </dev/null\n`, 'latin1');
    line = '';
  }
  if (line !== '') yield Buffer.from(`rm -rf --${line} </dev/null\n`, 'latin1');
  yield Buffer.from('echo removed\n');
}

/** Removes paths below `path` of an attached volume, directories with all that is in them. Raises HELPER_FAILED. */
export async function removePaths(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  paths: readonly string[],
): Promise<void> {
  if (paths.length === 0) return;
  const spec = {
    image: ctx.image,
    purpose: 'remove',
    script: REMOVE_SCRIPT,
    args: [path],
    stdin: true,
    capabilities: WRITE_CAPABILITIES,
    mounts: attachment.mounts,
  };
  const run = await runHelper(
    ctx.engine,
    spec,
    async (helper) => {
      const commands = Readable.from(removeCommands(paths), { objectMode: false });
      // That the helper stopped reading, its exit code tells.
      const sent = pipeline(commands, helper.stdin).catch(() => {});
      const output = await collectOutput(helper);
      await sent;
      return output.toString('latin1');
    },
    ctx.signal,
  );
  if (run.exitCode === 0 && run.result.trim() === 'removed') return;
  const why = printable(run.stderr.lines.at(-1) ?? `exit ${run.exitCode}`);
  throw new VolbakError(
    'HELPER_FAILED',
    `what is no longer at the source could not be removed at the target: ${why}`,
  );
}
