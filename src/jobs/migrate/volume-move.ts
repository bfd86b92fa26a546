import { printable } from '../../core/bytes.ts';
import { RecordSpool } from '../../core/chunk-spool.ts';
import { VolbakError } from '../../core/errors.ts';
import type { EventSink } from '../../core/events.ts';
import type { IndexMember } from '../../core/member.ts';
import { digestLine, VolumeDigest } from '../../tar/digest.ts';
import { listedOf, parseListed } from '../../tar/listing.ts';
import { digestVolume, readMembers } from '../read/digest.ts';
import { listVolume } from '../read/list.ts';
import type { Listing } from '../read/listing.ts';
import { removePaths } from '../write/remove.ts';
import { type Difference, differenceOf, looksAlike } from './difference.ts';
import { Cursor, MemberSpool } from './members.ts';
import { assertHeldStill, type Place, send } from './send.ts';

/** What the live pass leaves for the second one. */
interface Live {
  first: Listing;
  target: Listing;
  suspects: ReadonlySet<string>;
  members: MemberSpool;
}

/** One volume on its way: a pass while it is in use, then what changed meanwhile, while nobody uses it. */
export class VolumeMove {
  readonly name: string;
  readonly #from: Place;
  readonly #to: Place;
  readonly #emit: EventSink;
  readonly #warned = new Set<string>();
  #live: Live | undefined;
  /** What the source holds since it stands still; set by the second pass. */
  digest = '';
  entries = 0;
  /** Bytes that each pass sent, as tar. */
  liveBytes = 0;
  secondBytes = 0;
  /** False where the target holds what the live pass proved, and nothing was done to it since. */
  #touched = false;

  constructor(name: string, from: Place, to: Place, emit: EventSink) {
    this.name = name;
    this.#from = from;
    this.#to = to;
    this.#emit = emit;
  }

  /** True where the second pass had something to do. */
  get changed(): boolean {
    return this.secondBytes > 0;
  }

  /** Sends all, however it changes meanwhile, and proves that the target holds what was sent. `listed`: a listing of just now. */
  async livePass(listed?: Listing): Promise<void> {
    const first = listed ?? (await listVolume(this.#from.ctx, this.#from.attachment, this.#from.path));
    this.#begin('migrate', first.spool.count, first.bytes);
    const sent = await send(this.#from, this.#to, first, (done) =>
      this.#progress('migrate', done, first.bytes),
    );
    this.#warn(sent.warnings);
    this.liveBytes = sent.members.bytes;
    const target = await this.#listTarget();
    this.#begin('prove', target.spool.count, target.bytes);
    const { digest } = await digestVolume(this.#to.ctx, this.#to.attachment, this.#to.path, {
      listing: target,
    });
    if (digest !== sent.members.digest()) throw this.#differs('the target does not hold what was sent');
    const suspects = sent.complaints.filter(({ kind }) => kind !== 'warning').map(({ path }) => path);
    this.#live = { first, target, suspects: new Set(suspects), members: sent.members };
    this.#emit({ event: 'volume-done', volume: this.name, action: 'migrate', bytes: this.liveBytes });
  }

  /** Sends what changed since, and proves it. The source must hold still: HELPER_FAILED where it does not. */
  async secondPass(): Promise<void> {
    const live = this.#live as Live;
    const second = await listVolume(this.#from.ctx, this.#from.attachment, this.#from.path);
    assertHeldStill(
      this.name,
      second.complaints.map((message) => ({ path: '.', message })),
    );
    const difference = differenceOf({ ...live, second, remade: new Set() });
    let sent = await this.#apply(second, difference);
    const odd = await this.#prove(second, difference, sent);
    if (odd.length > 0) sent = await this.#makeAnew(live, second, odd, sent);
    this.#sum(second, sent);
  }

  /** Removes and sends what differs; what was sent, hashed. */
  async #apply(second: Listing, { remove, send: records, bytes }: Difference): Promise<MemberSpool> {
    this.#touched ||= remove.length > 0 || records.count > 0;
    await removePaths(this.#to.ctx, this.#to.attachment, this.#to.path, remove);
    if (records.count === 0) return new MemberSpool();
    this.#begin('migrate the rest', records.count, bytes);
    const listing = { ...second, spool: records };
    const sent = await send(this.#from, this.#to, listing, (done) =>
      this.#progress('migrate the rest', done, bytes),
    );
    assertHeldStill(
      this.name,
      sent.complaints.filter(({ kind }) => kind !== 'warning'),
    );
    this.#warn(sent.warnings);
    this.secondBytes += sent.members.bytes;
    return sent.members;
  }

  /**
   * Lists the target again, and reads again what was written. Answers with directories that kept an attribute which the
   * source's have no longer: tar adds, and takes none away. Raises INTEGRITY for any other difference.
   */
  async #prove(second: Listing, { send: records, remove }: Difference, sent: MemberSpool): Promise<string[]> {
    if (records.count === 0 && remove.length === 0) return [];
    const target = await this.#listTarget();
    const written = this.#compareListings(second, target, sent);
    const there = new MemberSpool();
    if (written.count > 0)
      await readMembers(
        this.#to.ctx,
        this.#to.attachment,
        this.#to.path,
        { ...target, spool: written },
        there.push,
      );
    const odd: string[] = [];
    const found = new Cursor(there.members());
    for (const member of sent.members()) {
      const other = found.seek(member.path);
      if (other && digestLine(member).equals(digestLine(other))) continue;
      if (!other || member.type !== 'dir' || member.path === '.') throw this.#differs(printable(member.path));
      odd.push(member.path);
    }
    return odd;
  }

  /** Records of the target's listing for what was sent. */
  #compareListings(second: Listing, target: Listing, sent: MemberSpool): RecordSpool {
    const there = target.spool.records();
    const wanted = new Cursor(sent.members());
    const written = new RecordSpool();
    for (const member of listedOf(second.spool.records())) {
      const record = there.next().value as string | undefined;
      const other = record === undefined ? undefined : parseListed(record);
      if (other?.path !== member.path || !looksAlike(other, member))
        throw this.#differs(printable(member.path));
      if (wanted.seek(member.path)) written.push(record as string);
    }
    if (!there.next().done) throw this.#differs('the target holds more than the source');
    return written;
  }

  async #makeAnew(live: Live, second: Listing, odd: string[], sent: MemberSpool): Promise<MemberSpool> {
    const target = await this.#listTarget();
    const first = { ...live.first, spool: second.spool };
    // All else is in place by now: only the directories and what is in them are written once more.
    const difference = differenceOf({
      first: { ...first, started: new Date(FAR) },
      second,
      target,
      suspects: new Set(),
      remade: new Set(odd),
    });
    const again = await this.#apply(second, difference);
    const left = await this.#prove(second, difference, again);
    if (left.length > 0) throw this.#differs(printable(left[0] as string));
    return merged(second, sent, again);
  }

  /** The digest of the source as it stands: members of the second pass where there are, else of the live one. */
  #sum(second: Listing, sent: MemberSpool): void {
    const digest = new VolumeDigest();
    const newer = new Cursor(sent.members());
    const older = new Cursor((this.#live as Live).members.members());
    for (const { path } of listedOf(second.spool.records())) {
      const member = newer.seek(path) ?? older.seek(path);
      if (!member) throw this.#differs(printable(path));
      digest.add(member);
    }
    this.digest = digest.digest();
    this.entries = second.spool.count;
    this.#live = undefined;
  }

  /**
   * Reads all of the target once more, unless it was read as a whole since it was last written. Raises INTEGRITY where it is
   * not what the source held when it stood still.
   */
  async fullCompare(): Promise<void> {
    if (!this.#touched) return;
    const target = await this.#listTarget();
    this.#begin('compare', target.spool.count, target.bytes);
    const { digest } = await digestVolume(this.#to.ctx, this.#to.attachment, this.#to.path, {
      listing: target,
    });
    if (digest !== this.digest) throw this.#differs('the digests of source and target differ');
  }

  #listTarget(): Promise<Listing> {
    return listVolume(this.#to.ctx, this.#to.attachment, this.#to.path);
  }

  #differs(what: string): VolbakError {
    return new VolbakError('INTEGRITY', `volume ${this.name} did not arrive as it is: ${what}`, {
      hint: 'Does something else write into the target? Can its file system hold all that the source does?',
    });
  }

  #begin(action: string, entries: number, bytes: number): void {
    this.#emit({ event: 'volume-start', volume: this.name, action, entries, bytes });
  }

  #progress(action: string, done: number, total: number): void {
    this.#emit({ event: 'progress', volume: this.name, action, done, total });
  }

  #warn(messages: readonly string[]): void {
    for (const message of messages.filter((text) => !this.#warned.has(text))) {
      this.#warned.add(message);
      this.#emit({ event: 'warning', volume: this.name, message });
    }
  }
}

/** A time after all others: what a listing says is trusted, since nothing moves any more. */
const FAR = 8e15;

/** Members of two passes, the later one's where both have them. */
function merged(second: Listing, sent: MemberSpool, again: MemberSpool): MemberSpool {
  const all = new MemberSpool();
  const newer = new Cursor<IndexMember>(again.members());
  const older = new Cursor<IndexMember>(sent.members());
  for (const { path } of listedOf(second.spool.records())) {
    const member = newer.seek(path) ?? older.seek(path);
    if (member) all.push(member);
  }
  return all;
}
