import { execFileSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What other things than restored volumes may need on the disk meanwhile. */
const SPARE = 8e9;

/**
 * ext4 gives an inode again only some time after its file was removed, and until then looks at each of the removed ones for
 * each new file (RECENCY_MIN in fs/ext4/ialloc.c: 60 s). Where 60,000 files had just been removed, extracting as many took four
 * times as long.
 */
const INODES_REST_MS = 65_000;

/** Volumes that were written and measured: they stay as long as there is room, as removing them would slow what comes next. */
export class Leftovers {
  readonly #directory: string;
  #removals: (() => void)[] = [];

  /** `directory` lies on the disk that the volumes are on. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  add(remove: () => void): void {
    this.#removals.push(remove);
  }

  /** Removes all where there are less than `bytes`, and waits until that slows nothing down any more. */
  async makeRoom(bytes: number): Promise<void> {
    const { bavail, bsize } = statfsSync(this.#directory);
    if (this.#removals.length === 0 || bavail * bsize > bytes + SPARE) return;
    this.removeAll();
    await sleep(INODES_REST_MS);
  }

  removeAll(): void {
    for (const remove of this.#removals) remove();
    this.#removals = [];
    execFileSync('sync');
  }
}
