import { describe, expect, it } from 'vitest';
import type { SnapshotName } from '../../src/repository/keys.ts';
import { formatSource, matchingSources, resolveReference } from '../../src/repository/references.ts';

const snap = (id: string, host: string, kind: 'container' | 'volume', name: string): SnapshotName => ({
  id,
  source: { host, kind, name },
});

const SNAPSHOTS = [
  snap('20261118T010000Z-aa0001', 'alpha', 'container', 'db'),
  snap('20261119T010000Z-aa0002', 'alpha', 'container', 'db'),
  snap('20261119T230000Z-aa0003', 'alpha', 'container', 'db'),
  snap('20261120T010000Z-bb0001', 'beta', 'container', 'web'),
  snap('20261120T020000Z-bb0002', 'alpha', 'volume', 'web'),
  snap('20261120T030000Z-bb0003', 'beta', 'volume', 'odd@name'),
  snap('20261121T010000Z-cc0001', 'alpha', 'container', '2026'),
];

describe('resolveReference', () => {
  it.each([
    ['latest', 'cc0001'],
    ['db', 'aa0003'],
    ['db@latest', 'aa0003'],
    ['container/db', 'aa0003'],
    ['alpha/db', 'aa0003'],
    ['alpha/container/db', 'aa0003'],
    ['alpha/container/db@latest', 'aa0003'],
    ['db@20261118', 'aa0001'],
    ['db@20261119T230000Z-aa0003', 'aa0003'],
    ['db@2026-11-18', 'aa0001'],
    ['db@2026-11-19', 'aa0003'],
    ['db@2030-01-01', 'aa0003'],
    ['db@2026-11-19T12:00:00', 'aa0002'],
    ['db@2026-11-19T12:00:00Z', 'aa0002'],
    ['db@2026-11-19T23:30:00+00:00', 'aa0003'],
    ['db@2026-11-20T00:30:00+02:00', 'aa0002'],
    ['beta/web', 'bb0001'],
    ['container/web', 'bb0001'],
    ['volume/web', 'bb0002'],
    ['beta/volume/odd@name@latest', 'bb0003'],
    ['odd@name@latest', 'bb0003'],
    ['20261120T01', 'bb0001'],
    ['20261120t010000z-BB0001', 'bb0001'],
    ['2026', 'cc0001'],
  ])('%s is …-%s', (reference, suffix) => {
    expect(resolveReference(reference, SNAPSHOTS).id).toMatch(new RegExp(`-${suffix}$`));
  });

  it.each([
    ['web', 'USAGE', 'beta/container/web'],
    ['web@latest', 'USAGE', 'alpha/volume/web'],
    ['20261119', 'USAGE', '20261119T010000Z-aa0002'],
    ['db@20261119', 'USAGE', '20261119T230000Z-aa0003'],
    ['nothing', 'SNAPSHOT_NOT_FOUND', 'nothing'],
    ['nothing@latest', 'SNAPSHOT_NOT_FOUND', 'nothing'],
    ['db@2026-11-17', 'SNAPSHOT_NOT_FOUND', '2026-11-17'],
    ['db@2026-99-99', 'SNAPSHOT_NOT_FOUND', '2026-99-99'],
    ['db@yesterday', 'SNAPSHOT_NOT_FOUND', 'yesterday'],
    ['db@', 'SNAPSHOT_NOT_FOUND', 'db@'],
    ['202', 'SNAPSHOT_NOT_FOUND', '202'],
    ['', 'SNAPSHOT_NOT_FOUND', ''],
    ['@', 'SNAPSHOT_NOT_FOUND', '@'],
  ])('%j raises %s and says %s', (reference, code, text) => {
    const snapshots = reference === '202' ? SNAPSHOTS.slice(0, 1) : SNAPSHOTS;
    expect(() => resolveReference(reference, snapshots)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(text) }),
    );
  });

  it('says in the hint what there is, or that there is nothing', () => {
    const hint = (snapshots: SnapshotName[]) => {
      try {
        resolveReference('nothing', snapshots);
      } catch (error) {
        return (error as { hint: string }).hint;
      }
      return undefined;
    };
    expect(hint(SNAPSHOTS)).toContain('alpha/container/db');
    expect(hint([])).toContain('no snapshots yet');
    expect(() => resolveReference('latest', [])).toThrow(
      expect.objectContaining({ code: 'SNAPSHOT_NOT_FOUND' }),
    );
  });

  it('matches each source once', () => {
    expect(matchingSources('web', SNAPSHOTS).map(formatSource)).toEqual([
      'beta/container/web',
      'alpha/volume/web',
    ]);
    expect(matchingSources('db', SNAPSHOTS).map(formatSource)).toEqual(['alpha/container/db']);
  });
});
