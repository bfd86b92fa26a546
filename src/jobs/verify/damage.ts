import { isVolbakError, messageOf, VolbakError } from '../../core/errors.ts';
import { manifestKey, type SnapshotName } from '../../repository/keys.ts';

export interface VerifyProblem {
  message: string;
  snapshot?: string;
  volume?: string;
  segment?: string;
  /** Files that the damage hits, printable; a few of them. */
  paths?: string[];
}

/** What a verify found to be damaged: for people, and for a repair. */
export class Damage {
  readonly problems: VerifyProblem[] = [];
  /** Segments that are missing or not what was written. */
  readonly segments = new Set<string>();
  readonly #manifests = new Set<string>();
  readonly #indexes = new Set<string>();
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Notes a problem; raises it where the store does not answer, which says nothing about what lies there. */
  note(error: unknown, where: Omit<VerifyProblem, 'message'>): void {
    this.#signal.throwIfAborted();
    const codes = ['STORE_UNREACHABLE', 'STORE_DENIED', 'WRONG_KEY'] as const;
    if (codes.some((code) => isVolbakError(error, code))) throw error;
    this.problems.push({ message: messageOf(error), ...where });
  }

  noteManifest(error: unknown, name: SnapshotName): void {
    this.note(error, { snapshot: name.id });
    this.#manifests.add(manifestKey(name.source, name.id));
  }

  noteIndex(error: unknown, snapshot: string, volume: string): void {
    this.note(error, { snapshot, volume });
    this.#indexes.add(`${snapshot} ${volume}`);
  }

  /** True where the manifest cannot be read. */
  hasManifest({ source, id }: SnapshotName): boolean {
    return this.#manifests.has(manifestKey(source, id));
  }

  /** True where the index of this volume cannot be gone by. */
  hasIndex(snapshot: string, volume: string): boolean {
    return this.#indexes.has(`${snapshot} ${volume}`);
  }
}

export function damaged(what: string): VolbakError {
  return new VolbakError('INTEGRITY', `the ${what}`);
}
