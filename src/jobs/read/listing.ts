import { RecordSpool } from '../../core/chunk-spool.ts';
import { VolbakError } from '../../core/errors.ts';
import { type Listed, OrderCheck, parseListed, RecordSplitter, recordFromStat } from '../../tar/listing.ts';
import { secondsOf } from '../../tar/trust.ts';
import { STAGE_NAME } from '../write/stage-script.ts';
import { LateEntries } from './late-entries.ts';

/** What is in a volume, as `find` saw it, and what of it is to be read. */
export interface Listing {
  /** Records of the members to read. */
  spool: RecordSpool;
  fsType: string;
  /** Version of the helper's tar. */
  helperTar: string;
  sockets: number;
  excluded: number;
  /** Content of the regular files in bytes, to tell progress by. */
  bytes: number;
  /** When the listing began, by the clock of the engine's machine: before what mmap had written was synced. */
  started: Date;
  /** True where a time of change has a fraction of a second: the file system's clock is not a coarse one. */
  fineTimes: boolean;
  /** True where the helper has no GNU tools: see LIST_PLAINLY_SCRIPT. */
  plain: boolean;
  /** What find could not look at, and what moved under it, for a person. */
  complaints: string[];
  /** Second of the latest `mtime` or `ctime` of all members. */
  newest: number;
  /** Of all that find printed, where no later change can hide from another listing. */
  hash?: string;
  /** True for one that is known by its hash: it was not gone through, and there are no records. */
  known?: true;
}

/** True for members to leave out. */
export type Exclude = (member: Pick<Listed, 'path' | 'type'>) => boolean;

/** Takes what LIST_SCRIPT or LIST_PLAINLY_SCRIPT print. */
export class ListingParser {
  readonly listing: Listing;
  readonly #splitter = new RecordSplitter();
  readonly #order = new OrderCheck();
  readonly #exclude: Exclude;
  readonly #late: LateEntries;
  #found: string | undefined;
  #sorted: string | undefined;
  readonly #stages = new Set<string>();

  constructor(exclude: Exclude | undefined) {
    this.#exclude = (member) => this.#isStaged(member.path) || (exclude?.(member) ?? false);
    this.#late = new LateEntries();
    this.listing = {
      spool: new RecordSpool(),
      fsType: 'unknown',
      helperTar: 'unknown',
      sockets: 0,
      excluded: 0,
      bytes: 0,
      started: new Date(0),
      fineTimes: false,
      plain: false,
      complaints: [],
      newest: Number.NEGATIVE_INFINITY,
    };
  }

  push(chunk: Buffer): void {
    for (const record of this.#splitter.push(chunk)) this.#record(record);
  }

  #record(record: string): void {
    const { listing } = this;
    if (record.startsWith('FS ')) listing.fsType = record.slice(3);
    else if (record.startsWith('TAR ')) listing.helperTar = record.slice(4);
    else if (record.startsWith('FIND ')) this.#found = record.slice(5);
    else if (record.startsWith('SORT ')) this.#sorted = record.slice(5);
    else if (record.startsWith('NOW ')) listing.started = new Date(Number(record.slice(4)));
    else if (record.startsWith('LATE ')) this.#late.add(record);
    else if (record.startsWith('PLAIN ')) this.#member(recordFromStat(record.slice(6)));
    else this.#member(record);
  }

  #member(record: string): void {
    const { listing } = this;
    const member = parseListed(record);
    this.#order.next(member.path);
    listing.newest = Math.max(listing.newest, secondsOf(member.mtime), secondsOf(member.ctime));
    if (this.#isStaged(member.path)) return;
    if (member.type === 'socket') {
      listing.sockets++;
    } else if (member.path !== '.' && this.#exclude(member)) {
      listing.excluded++;
    } else {
      listing.spool.push(record);
      listing.fineTimes ||= !member.ctime.endsWith('.000000000');
      if (member.type === 'file') listing.bytes += member.size;
    }
  }

  /** Content on its way into the volume, or out of it, is no content of it; left out, and said. */
  #isStaged(path: string): boolean {
    const [, top = ''] = path.split('/', 2);
    if (!STAGE_NAME.test(top)) return false;
    this.#stages.add(top);
    return true;
  }

  get #isWhole(): boolean {
    return this.listing.started.getTime() > 0 && this.#splitter.rest === 0;
  }

  /** For a listing of which only what stands around the members was taken. Raises HELPER_FAILED as `finish` does. */
  finishKnown(): Listing {
    if (this.#found !== '0' || this.#sorted !== '0' || !this.#isWhole) throw cutOff([]);
    return { ...this.listing, known: true };
  }

  /** Raises HELPER_FAILED unless find and sort told their ends. */
  finish(stderr: string[]): Listing {
    // find ends with 1 where something vanished under it; those lines name it.
    const ended = this.#sorted === '0' && (this.#found === '0' || (this.#found === '1' && stderr.length > 0));
    const { listing } = this;
    if (!ended || !this.#isWhole || listing.spool.count === 0) throw cutOff(stderr);
    const moved = this.#late.missedBy(listing, this.#exclude);
    const staged = [...this.#stages].map(
      (name) => `${name}: a restore into this volume is at work or broke off, so content may be missing`,
    );
    listing.complaints = [...stderr, ...moved, ...staged];
    return listing;
  }
}

function cutOff(stderr: readonly string[]): VolbakError {
  return new VolbakError(
    'HELPER_FAILED',
    `the volume could not be listed: ${stderr.at(-1) ?? 'the listing is cut off'}`,
  );
}
