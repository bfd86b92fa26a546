import { FrameTable } from '../../core/frame-table.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { SegmentNames } from '../../repository/segments.ts';

/** A stored frame in its segment. */
export interface StoredFrame {
  offset: number;
  length: number;
  raw: number;
  sha256: string;
}

/** All frames that indexes name, each place once: what is to be decoded. */
export class NamedFrames {
  readonly #table = FrameTable.create();
  readonly #names = new SegmentNames();
  /** Places of frames that are named with another place, too: after a rewriting, or by an index that lies. */
  readonly #others = new Map<string, StoredFrame[]>();
  #bySegment: Map<number, number[]> | undefined;

  add([segment, offset, length, raw, sha256]: FrameRef): void {
    const hash = Buffer.from(sha256, 'hex');
    const place = { segment: this.#names.numberOf(segment), offset, length, raw };
    const known = this.#table.find(hash);
    if (known < 0) {
      this.#table.add(hash, 0, place);
      return;
    }
    const first = this.#table.entry(known);
    const same =
      first.segment === place.segment &&
      first.offset === offset &&
      first.length === length &&
      first.raw === raw;
    if (same) return;
    const others = this.#others.get(segment) ?? [];
    if (
      others.some((o) => o.offset === offset && o.sha256 === sha256 && o.length === length && o.raw === raw)
    )
      return;
    others.push({ offset, length, raw, sha256 });
    this.#others.set(segment, others);
  }

  /** Frames of a segment; call it when all are added. */
  *in(segment: string): Generator<StoredFrame> {
    for (const number of this.#entries().get(this.#names.numberOf(segment)) ?? []) {
      const { offset, length, raw } = this.#table.entry(number);
      yield { offset, length, raw, sha256: this.#table.hashOf(number).toString('hex') };
    }
    yield* this.#others.get(segment) ?? [];
  }

  #entries(): Map<number, number[]> {
    if (this.#bySegment) return this.#bySegment;
    const bySegment = new Map<number, number[]>();
    for (let entry = 0; entry < this.#table.size; entry++) {
      const { segment } = this.#table.entry(entry);
      const entries = bySegment.get(segment);
      if (entries) entries.push(entry);
      else bySegment.set(segment, [entry]);
    }
    this.#bySegment = bySegment;
    return bySegment;
  }
}
