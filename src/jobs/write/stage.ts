import { randomBytes } from 'node:crypto';
import { printable } from '../../core/bytes.ts';
import { messageOf, VolbakError } from '../../core/errors.ts';
import type { Journal, JournalNote } from '../../core/journal.ts';
import { processIdentity } from '../../core/process-identity.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { WRITE_CAPABILITIES } from '../../engine/helper.ts';
import { collectOutput, type HelperRun, runHelper } from '../../engine/run-helper.ts';
import { type TarMember, TarScanner } from '../../tar/scanner.ts';
import type { EngineContext } from '../engine-context.ts';
import {
  CONFLICT,
  EMPTY_SCRIPT,
  KEEP_TAKEN,
  OWNER_SCRIPT,
  PREPARE_SCRIPT,
  SWAP_SCRIPT,
  stageName,
} from './stage-script.ts';

/** How staged content takes its place. */
export type StageMode = 'overlay' | 'replace';

/** Directory of the journal of stages, below the state directory. */
export const STAGES_JOURNAL = 'stages';

/** What the state directory knows of a stage; what is to be done with it stands in the volumes themselves. */
export interface StageNote {
  engineId: string;
  stage: string;
  volumes: string[];
}

async function run(
  ctx: EngineContext,
  attachment: Attachment,
  purpose: string,
  script: string,
  args: string[],
): Promise<HelperRun<Buffer>> {
  const spec = {
    image: ctx.image,
    purpose,
    script,
    args,
    mounts: attachment.mounts,
    capabilities: WRITE_CAPABILITIES,
  };
  const done = await runHelper(ctx.engine, spec, collectOutput, ctx.signal);
  if (done.exitCode === 0) return done;
  const why = printable(done.stderr.lines.at(-1) ?? `exit ${done.exitCode}`);
  if (done.exitCode === CONFLICT) {
    throw new VolbakError('TARGET_NOT_EMPTY', `a directory stands where a file shall be: ${why}`, {
      hint: 'Move it away, or use --on-conflict replace.',
    });
  }
  if (done.exitCode === KEEP_TAKEN) {
    throw new VolbakError('USAGE', 'the name for the old content is one that the new content has itself', {
      hint: 'Give another one: --keep-old <name>.',
    });
  }
  throw new VolbakError('HELPER_FAILED', `${purpose} in the target volume failed: ${why}`);
}

/** Without the signal: what has begun is brought to an end. */
function unaborted(ctx: EngineContext): EngineContext {
  const { signal: _, ...rest } = ctx;
  return rest;
}

/**
 * Directories in volumes in which the content for all of them is gathered before it replaces or joins what is there. A
 * note in the state directory leads the next command to them if this run is killed.
 */
export class Stage {
  readonly #ctx: EngineContext;
  readonly #attachment: Attachment;
  readonly #roots: string[];
  readonly #name: string;
  readonly #note: JournalNote;
  /** True where `apply` failed and nobody could say how far it had come: the next command settles it. */
  unsettled = false;

  private constructor(
    ctx: EngineContext,
    attachment: Attachment,
    roots: string[],
    name: string,
    note: JournalNote,
  ) {
    this.#ctx = ctx;
    this.#attachment = attachment;
    this.#roots = roots;
    this.#name = name;
    this.#note = note;
  }

  /** Makes the directory in each of `volumes`, all of which are attached. */
  static async create(
    ctx: EngineContext,
    attachment: Attachment,
    volumes: readonly string[],
    journal: Journal<StageNote>,
  ): Promise<Stage> {
    const name = stageName(randomBytes(8).toString('hex'));
    const note = await journal.write({ engineId: ctx.engine.info.id, stage: name, volumes: [...volumes] });
    const roots = volumes.map((volume) => attachment.paths.get(volume) as string);
    const stage = new Stage(ctx, attachment, roots, name, note);
    try {
      await run(ctx, attachment, 'staging', PREPARE_SCRIPT, [name, processIdentity(), ...roots]);
    } catch (error) {
      await stage.settle().catch(() => {});
      throw error;
    }
    return stage;
  }

  /** Where to extract the content for the volume at `root`, in a helper. */
  pathOf(root: string): string {
    return `${root}/${this.#name}/new`;
  }

  /** Raises TARGET_NOT_EMPTY or USAGE where the content cannot take its place; nothing is changed. */
  async check(mode: StageMode, keepOld: string | undefined): Promise<void> {
    const args = [`check-${mode}`, keepOld ?? '', this.#name, ...this.#roots];
    await run(this.#ctx, this.#attachment, 'looking', SWAP_SCRIPT, args);
  }

  /**
   * Gives the staged content its place in all volumes. From the moment when the first one's journal says so it goes on to
   * the end, whatever fails or interrupts: here, else by the next command. Answers with roots whose own attributes came
   * out other than they should.
   */
  async apply(mode: StageMode, keepOld: string | undefined): Promise<string[]> {
    const ctx = unaborted(this.#ctx);
    const purpose = mode === 'replace' ? 'replacing' : 'overlaying';
    const args = [mode, keepOld ?? '', this.#name, ...this.#roots];
    try {
      const { result } = await run(ctx, this.#attachment, purpose, SWAP_SCRIPT, args);
      await this.#note.remove();
      return differingRoots(result, this.#roots);
    } catch (error) {
      const outcome = await this.settle().catch(() => undefined);
      if (outcome === 'forward') return [];
      if (outcome === 'back') throw error;
      this.unsettled = true;
      throw new VolbakError(
        'HELPER_FAILED',
        `${messageOf(error)}; the new content has its place only in part`,
        {
          cause: error,
          hint: 'Do not use the volumes yet: run any volbak command with this engine, which finishes it.',
        },
      );
    }
  }

  /** Takes all back, or, past the point of no return, goes on to the end. Raises HELPER_FAILED; then the note stays. */
  async settle(): Promise<'forward' | 'back'> {
    const outcome = await settleStage(unaborted(this.#ctx), this.#attachment, this.#name, this.#roots);
    await this.#note.remove();
    return outcome;
  }
}

/** Brings stages of one run, of which none may be at work any more, to an end: new content or old, never between. */
export async function settleStage(
  ctx: EngineContext,
  attachment: Attachment,
  stage: string,
  roots: readonly string[],
): Promise<'forward' | 'back'> {
  const { result } = await run(ctx, attachment, 'recovering', SWAP_SCRIPT, ['settle', '', stage, ...roots]);
  return result.toString().trim() === 'forward' ? 'forward' : 'back';
}

/** Which process made a stage, as it noted it; '' where it had no time to. */
export async function ownerOfStage(
  ctx: EngineContext,
  attachment: Attachment,
  stage: string,
  root: string,
): Promise<string> {
  const { result } = await run(ctx, attachment, 'looking', OWNER_SCRIPT, [root, stage]);
  return result.toString('utf8', 0, 1024).trim();
}

/** The swap prints two members for each root: as it should be, and as it is. */
function differingRoots(tar: Buffer, roots: readonly string[]): string[] {
  const members: TarMember[] = [];
  const scanner = new TarScanner({
    member: (member) => void members.push(member),
    content() {},
    memberEnd() {},
    end() {},
  });
  scanner.push(tar);
  const traits = (m: TarMember | undefined) => m && [m.mode, m.uid, m.gid, m.mtime, m.xattrs ?? ''].join(' ');
  return roots.filter((_, i) => traits(members[2 * i]) !== traits(members[2 * i + 1]));
}

/** Empties a volume that was empty before this run wrote into it. */
export async function emptyVolume(ctx: EngineContext, attachment: Attachment, path: string): Promise<void> {
  await run(unaborted(ctx), attachment, 'cleaning up', EMPTY_SCRIPT, [path]);
}
