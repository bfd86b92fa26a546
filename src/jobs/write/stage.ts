import { VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { WRITE_CAPABILITIES } from '../../engine/helper.ts';
import { collectOutput, runHelper } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';

/** What is restored over old content is first extracted whole beside it, in this directory of the volume's root. */
export const STAGE_PREFIX = '.volbak-';

/** How staged content takes its place. */
export type StageMode = 'overlay' | 'replace';

/** `before` keeps the root's own times: making and removing the directory changes them. */
const PREPARE =
  'cd "$1" && touch -r . /tmp/before && mkdir -m 700 "$2" && mkdir "$2/new" && touch -r /tmp/before "$2/before"';

/** Removes the directory; the root's own times come last, as they change with every rename in it. */
const FINISH = `
touch -r "$2/new" /tmp/times && rm -rf "$2" && touch -r /tmp/times . || exit 1
`;

const REPLACE = `
cd "$1" && mkdir "$2/old" || exit 1
find . -mindepth 1 -maxdepth 1 ! -name "$2" ! -name lost+found -exec mv -n -t "$2/old" -- {} + || exit 1
touch -r "$2/new" /tmp/new && : >"$2/swapping" || exit 1
find "$2/new" -mindepth 1 -maxdepth 1 -exec mv -n -t . -- {} + || exit 1
touch -r /tmp/new "$2/new" && cp -a --attributes-only -T "$2/new" . || exit 1
${FINISH}
`;

/**
 * Takes everything back. Where a replacement broke off the old content is moved to its place first, and nothing of it is
 * ever removed: `rmdir` refuses while any is left.
 */
const DISCARD = `
cd "$1" || exit 1
[ -d "$2" ] || exit 0
if [ -d "$2/old" ]; then
  if [ -e "$2/swapping" ]; then
    find . -mindepth 1 -maxdepth 1 ! -name "$2" ! -name lost+found -exec mv -n -t "$2/new" -- {} + || exit 1
  fi
  find "$2/old" -mindepth 1 -maxdepth 1 -exec mv -n -t . -- {} + && rmdir "$2/old" || exit 1
fi
touch -r "$2/before" /tmp/before && rm -rf "$2" && touch -r /tmp/before .
`;

/** Exit code where a directory would have to give way to a file. */
const CONFLICT = 95;

/**
 * Hard-links the staged files into their places: no copy, and what one file replaces goes at once. A directory is
 * never removed for a file: that is checked before anything changes.
 */
const OVERLAY = `
cd "$1" || exit 1
cd "$2/new" || exit 1
find . -mindepth 1 ! -type d -exec sh -c '
  for f do if [ -d "../../$f" ] && [ ! -L "../../$f" ]; then printf "%s\\n" "$f" >&2; exit 1; fi; done' sh {} + || exit ${CONFLICT}
find . -mindepth 1 -type d -exec sh -c '
  for d do if [ -L "../../$d" ] || { [ -e "../../$d" ] && [ ! -d "../../$d" ]; }; then rm -f "../../$d"; fi; done' sh {} + || exit 1
cd "$1" || exit 1
cp -a -l --remove-destination -T "$2/new" . || exit 1
${FINISH}
`;

async function run(
  ctx: EngineContext,
  attachment: Attachment,
  purpose: string,
  script: string,
  args: string[],
): Promise<void> {
  const spec = {
    image: ctx.image,
    purpose,
    script,
    args,
    mounts: attachment.mounts,
    capabilities: WRITE_CAPABILITIES,
  };
  const { exitCode, stderr } = await runHelper(ctx.engine, spec, collectOutput, ctx.signal);
  if (exitCode === CONFLICT) {
    throw new VolbakError(
      'TARGET_NOT_EMPTY',
      `a directory stands where a file shall be: ${stderr.lines.at(-1) ?? ''}`,
      {
        hint: 'Move it away, or use --on-conflict replace.',
      },
    );
  }
  if (exitCode !== 0) {
    throw new VolbakError(
      'HELPER_FAILED',
      `${purpose} in the target volume failed: ${stderr.lines.at(-1) ?? `exit ${exitCode}`}`,
    );
  }
}

/** A directory in the volume in which content is gathered before it replaces or joins what is there. */
export class Stage {
  readonly #ctx: EngineContext;
  readonly #attachment: Attachment;
  readonly #root: string;
  readonly #name: string;

  private constructor(ctx: EngineContext, attachment: Attachment, root: string, name: string) {
    this.#ctx = ctx;
    this.#attachment = attachment;
    this.#root = root;
    this.#name = name;
  }

  /** Makes the directory in the volume at `root`; `id` keeps runs apart. */
  static async create(ctx: EngineContext, attachment: Attachment, root: string, id: string): Promise<Stage> {
    const stage = new Stage(ctx, attachment, root, `${STAGE_PREFIX}${id}`);
    await run(ctx, attachment, 'staging', PREPARE, [root, stage.#name]);
    return stage;
  }

  /** Where to extract to, in a helper. */
  get path(): string {
    return `${this.#root}/${this.#name}/new`;
  }

  /** Gives the staged content its place and removes the directory. */
  async apply(mode: StageMode): Promise<void> {
    const script = mode === 'replace' ? REPLACE : OVERLAY;
    await run(this.#ctx, this.#attachment, mode === 'replace' ? 'replacing' : 'overlaying', script, [
      this.#root,
      this.#name,
    ]);
  }

  /** Removes what was staged; the old content was never touched. */
  async discard(): Promise<void> {
    const ctx = { ...this.#ctx };
    delete ctx.signal;
    await run(ctx, this.#attachment, 'cleaning up', DISCARD, [this.#root, this.#name]);
  }
}

/** Empties a volume that was empty before this run wrote into it. */
export async function emptyVolume(ctx: EngineContext, attachment: Attachment, path: string): Promise<void> {
  const { signal: _, ...unaborted } = ctx;
  await run(
    unaborted,
    attachment,
    'cleaning up',
    'find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf -- {} +',
    [path],
  );
}
