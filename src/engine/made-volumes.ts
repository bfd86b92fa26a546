import { randomBytes } from 'node:crypto';
import type { Journal, JournalNote } from '../core/journal.ts';
import type { EngineConnection } from './connect.ts';
import { MADE_LABEL } from './labels.ts';
import { findVolume } from './source.ts';
import { ensureVolume, removeVolume, type VolumeSpec } from './volumes.ts';

/** A volume that a run makes and has not filled yet. */
export interface MadeVolume {
  engineId: string;
  name: string;
  /** Value of its label; tells it from another volume of the same name (Docker's CreatedAt changes with its content). */
  made: string;
}

/** Directory of the journal of made volumes, below the state directory. */
export const MADE_VOLUMES_JOURNAL = 'made-volumes';

/** The volumes that one run makes: all are kept, or none is, also when the run is killed. */
export class MadeVolumes {
  readonly #engine: EngineConnection;
  readonly #journal: Journal<MadeVolume>;
  readonly #made: { name: string; note: JournalNote }[] = [];
  readonly #kept: string[] = [];

  constructor(engine: EngineConnection, journal: Journal<MadeVolume>) {
    this.#engine = engine;
    this.#journal = journal;
  }

  /** Makes a volume unless it exists. */
  async ensure(spec: VolumeSpec): Promise<void> {
    const made = randomBytes(8).toString('hex');
    const note = await this.#journal.write({ engineId: this.#engine.info.id, name: spec.name, made });
    const labels = { ...spec.labels, [MADE_LABEL]: made };
    try {
      if (await ensureVolume(this.#engine, { ...spec, labels })) this.#made.push({ name: spec.name, note });
      else await note.remove();
    } catch (error) {
      await note.remove();
      throw error;
    }
  }

  /** Names of the volumes made so far. */
  get names(): ReadonlySet<string> {
    return new Set(this.#made.map(({ name }) => name));
  }

  /** They are filled: they stay, also after a crash. */
  async keep(): Promise<void> {
    for (const { name, note } of this.#made.splice(0)) {
      await note.remove();
      this.#kept.push(name);
    }
  }

  /** Removes what was kept too early. */
  async discardKept(): Promise<void> {
    for (const name of this.#kept.splice(0)) await removeVolume(this.#engine, name).catch(() => false);
  }

  /** Removes them again; returns their names. */
  async discard(): Promise<string[]> {
    for (const { name, note } of this.#made) {
      const gone = await removeVolume(this.#engine, name).catch(() => false);
      if (gone) await note.remove();
    }
    return this.#made.map(({ name }) => name);
  }
}

/** Removes half-filled volumes that killed runs left. Returns their names; notes of other engines stay. */
export async function removeHalfFilled(
  engine: EngineConnection,
  journal: Journal<MadeVolume>,
): Promise<string[]> {
  const removed: string[] = [];
  for (const { body, note } of await journal.orphans()) {
    if (body.engineId !== engine.info.id) continue;
    if ((await findVolume(engine, body.name))?.Labels?.[MADE_LABEL] === body.made) {
      // In use: perhaps by a helper that is about to be removed. The note stays for the next command.
      if (!(await removeVolume(engine, body.name))) continue;
      removed.push(body.name);
    }
    await note.remove();
  }
  return removed;
}
