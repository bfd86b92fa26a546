import { describe, expect, it } from 'vitest';
import { ListingParser } from '../../src/jobs/read/listing.ts';
import { ListingIntake } from '../../src/jobs/read/listing-intake.ts';

const NOW = 1_800_000_000;

function record(path: string, { size = 5, mtime = 1000, type = 'f' } = {}): string {
  return `${type} ${size} 644 0 0 ${mtime}.5000000000 ${mtime}.5000000000 7 1 ${path}`;
}

const ROOT = record('.', { type: 'd' });

interface Given {
  members?: string[];
  late?: string[];
  stderr?: string[];
  now?: number;
  leftOut?: string[];
  known?: string;
  onOther?(fsType: string): void;
  find?: string;
  /** Bytes of a chunk. */
  chunk?: number;
}

async function take({
  members = [ROOT, record('./a')],
  late = [],
  stderr = [],
  now = NOW,
  ...given
}: Given = {}) {
  const { leftOut = [], known, find = '0', chunk = 1000 } = given;
  const around = ['FS ext2/ext3', 'TAR tar (GNU tar) 1.34', `NOW ${now * 1000}`, `FIND ${find}`];
  const text = [...around, ...members, 'SORT 0', ...late].map((line) => `${line}\0`).join('');
  const intake = new ListingIntake(new ListingParser(undefined), {
    leftOut: { globs: leftOut, directories: [] },
    known: () => known,
    ...(given.onOther ? { onOther: given.onOther } : {}),
  });
  for (let at = 0; at < text.length; at += chunk) intake.push(Buffer.from(text.slice(at, at + chunk)));
  return await intake.finish(stderr);
}

describe('a listing', () => {
  it('that is the same as a known one is not gone through, whenever it was made and however it arrives', async () => {
    const { hash } = await take();
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    for (const chunk of [1, 7, 50, 10_000]) {
      const again = await take({ known: hash as string, now: NOW + 86_400, chunk });
      expect(again).toMatchObject({ known: true, hash, fsType: 'ext2/ext3' });
      expect(again.spool.count).toBe(0);
      expect(again.started.getTime()).toBe((NOW + 86_400) * 1000);
    }
  });

  it.each<[string, Given]>([
    ['a changed member', { members: [ROOT, record('./a', { size: 6 })] }],
    ['another time', { members: [ROOT, record('./a', { mtime: 1001 })] }],
    ['one member more', { members: [ROOT, record('./a'), record('./b')] }],
    ['one member less', { members: [ROOT] }],
    ['other globs of what is left out', { leftOut: ['*.tmp'] }],
    ['directories that changed meanwhile', { late: ['LATE 1000.5 ./late'] }],
    ['complaints of find', { stderr: ['find: ./x: gone'], find: '1' }],
  ])('with %s is another one', async (_, given) => {
    const { hash } = await take();
    const other = await take({ ...given, known: hash as string });
    expect(other.known).toBeUndefined();
    expect(other.hash).not.toBe(hash);
    expect(other.spool.count).toBe((given.members ?? [1, 2]).length);
  });

  it('with a time that is too new has no hash: a later change might not show', async () => {
    expect((await take({ members: [ROOT, record('./a', { mtime: NOW - 1 })] })).hash).toBeUndefined();
    expect((await take({ members: [ROOT, record('./a', { mtime: NOW - 3 })] })).hash).toBeDefined();
  });

  it('that is cut off is refused, known or not', async () => {
    const known = (await take()).hash as string;
    for (const members of [[], [ROOT, 'damaged']]) await expect(take({ members, known })).rejects.toThrow();
    const intake = new ListingIntake(new ListingParser(undefined), {
      leftOut: { globs: [], directories: [] },
      known: () => known,
    });
    intake.push(Buffer.from(`FS ext2/ext3\0NOW ${NOW}000\0FIND 0\0${ROOT}\0${record('./a')}\0`));
    await expect(intake.finish([])).rejects.toThrow(/cut off/);
  });

  it('of more than is held at once is gone through as it comes, and has no hash', async () => {
    const members = [ROOT];
    const long = 'x'.repeat(200);
    for (let n = 0; n < 150_000; n++) members.push(record(`./${String(n).padStart(7, '0')}${long}`));
    const listing = await take({ members, chunk: 65_536 });
    expect(listing.hash).toBeUndefined();
    expect(listing.spool.count).toBe(members.length);
  });

  it.each([undefined, 'another'])(
    'is told to be another one as soon as that is certain, once (known: %s)',
    async (known) => {
      const told: string[] = [];
      const intake = new ListingIntake(new ListingParser(undefined), {
        leftOut: { globs: [], directories: [] },
        known: () => known,
        onOther: (fsType) => told.push(fsType),
      });
      intake.push(Buffer.from('FS ext2/ext3\0TAR tar (GNU tar) 1.34\0'));
      expect(told).toEqual(known === undefined ? ['ext2/ext3'] : []);
      intake.push(Buffer.from(`NOW ${NOW}000\0FIND 0\0${ROOT}\0SORT 0\0`));
      const listing = await intake.finish([]);
      expect(told).toEqual(['ext2/ext3']);
      expect(listing.spool.count).toBe(1);
    },
  );

  it('that is known is never told to be another one', async () => {
    const { hash } = await take();
    expect(await take({ known: hash as string, onOther: () => expect.unreachable() })).toHaveProperty(
      'known',
      true,
    );
  });

  it('that a helper cannot make is not told to be another one', async () => {
    const onOther = () => expect.unreachable();
    const intake = new ListingIntake(new ListingParser(undefined), {
      leftOut: { globs: [], directories: [] },
      known: () => undefined,
      onOther,
    });
    await expect(intake.finish(['find: unrecognized: -printf'])).rejects.toThrow();
  });
});
