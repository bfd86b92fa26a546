import { describe, expect, it } from 'vitest';
import { LiveFrames } from '../../../src/jobs/prune/live-frames.ts';
import { jumpSince, type Memory, memoryOnDisk } from '../../../src/jobs/prune/memory.ts';
import { condemnedKey, parseCondemnedKey, parseManifestKey } from '../../../src/repository/keys.ts';
import { tempDir } from '../../support/temp.ts';
import { DAY, HOUR, MINUTE, SOURCE } from '../../support/world.ts';

describe('LiveFrames', () => {
  it('counts each frame of each segment once', () => {
    const frames = new LiveFrames();
    for (let round = 0; round < 3; round++) {
      for (let segment = 0; segment < 50; segment++)
        for (let i = 0; i < 400; i++) frames.add(segment, 31 + i * 80_000, segment + i);
    }
    for (let segment = 0; segment < 50; segment++) {
      expect(frames.tracks(segment)).toBe(true);
      expect(frames.liveBytes(segment)).toBe(400 * segment + (400 * 399) / 2);
    }
    expect(frames.liveBytes(99)).toBe(0);
  });

  it('goes on with some of the segments where memory is short, and counts those in full', () => {
    const frames = new LiveFrames(2 ** 14);
    for (let segment = 0; segment < 64; segment++)
      for (let i = 0; i < 1000; i++) frames.add(segment, i * 100, 10);
    const tracked = Array.from({ length: 64 }, (_, n) => n).filter((n) => frames.tracks(n));
    expect(tracked.length).toBeGreaterThan(0);
    expect(tracked.length).toBeLessThan(16);
    for (const segment of tracked) expect(frames.liveBytes(segment)).toBe(10_000);
  });
});

describe("a pruner's memory", () => {
  const memory: Memory = {
    seen: ['20261120T203000Z-000001'],
    sessions: { '0123456789abcdef': { beat: 'sessions/0123456789abcdef/000000.json', boot: 'b', at: 5 } },
    storeTime: 1000 * DAY,
    wallTime: 1000 * DAY + HOUR,
  };

  it('comes back as it was, for each repository its own; where there is none, or a damaged one, nothing is known', async () => {
    const directory = await tempDir();
    const place = memoryOnDisk(directory, 'one');
    expect(await place.read()).toBeUndefined();
    await place.write(memory);
    expect(await place.read()).toEqual(memory);
    expect(await memoryOnDisk(directory, 'two').read()).toBeUndefined();
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${directory}/prune/one.json`, '{"seen":[');
    expect(await place.read()).toBeUndefined();
  });

  it.each<[string, number, number, boolean]>([
    ['clocks that go alike, an hour apart', DAY, DAY, false],
    ['a drift of nine minutes', DAY, DAY + 9 * MINUTE, false],
    ['three days forwards', 4 * DAY, DAY, true],
    ['three days back', -2 * DAY, DAY, true],
    ['both back: nobody knows', -HOUR, -HOUR, true],
    ['eleven minutes', DAY + 11 * MINUTE, DAY, true],
  ])('tells a jump of the store: %s', (_, store, wall, jumped) => {
    const jump = jumpSince(memory, memory.storeTime + store, memory.wallTime + wall);
    expect(jump !== undefined).toBe(jumped);
  });
});

describe('keys of condemned manifests', () => {
  const id = '20261120T203000Z-4f9c2a';

  it('name the snapshot; those of others are none', () => {
    const key = condemnedKey(SOURCE, id, '0123abcd');
    expect(key).toBe(`condemned/h/volume/v/${id}.0123abcd.json.zst`);
    expect(parseCondemnedKey(key)).toEqual({ id, source: SOURCE });
    expect(parseManifestKey(key)).toBeUndefined();
    for (const wrong of [
      `condemned/h/volume/v/${id}.json.zst`,
      `condemned/h/volume/v/${id}.0123abcg.json.zst`,
      `snapshots/h/volume/v/${id}.0123abcd.json.zst`,
      `condemned/v/${id}.0123abcd.json.zst`,
    ])
      expect(parseCondemnedKey(wrong), wrong).toBeUndefined();
    expect(parseManifestKey(`snapshots/h/volume/v/${id}.0123abcd.json.zst`)).toBeUndefined();
  });
});
