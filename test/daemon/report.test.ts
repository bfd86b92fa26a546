import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.ts';
import { fillTemplate, templateNames } from '../../src/core/template.ts';
import { tellNews } from '../../src/daemon/news.ts';
import { newsOf } from '../../src/daemon/report.ts';
import { noticeShrinking, snapshotsOf } from '../../src/daemon/shrinking.ts';
import type { JobState } from '../../src/schedule/types.ts';
import { afterwards } from '../support/temp.ts';

const made = (entries: number, tarBytes: number, id = 'x') => [{ id, source: 's', entries, tarBytes }];

describe('a snapshot that is much smaller than those before', () => {
  const after = (...sizes: [number, number][]) => {
    const state: Pick<JobState, 'extents' | 'shrunk'> = {};
    return sizes.map(([entries, bytes]) => noticeShrinking(state, made(entries, bytes)).length > 0);
  };

  it('is noticed by files and by bytes, once as long as it stays so, and not by a single outlier before', () => {
    expect(after([100, 1000])).toEqual([false]);
    expect(after([100, 1000], [51, 501])).toEqual([false, false]);
    expect(after([100, 1000], [49, 1000])).toEqual([false, true]);
    expect(after([100, 1000], [100, 499], [100, 499])).toEqual([false, true, false]);
    expect(after([100, 1000], [100, 1000], [900, 9000], [100, 1000])).toEqual([false, false, false, false]);
    expect(after([100, 1000], [10, 10], [100, 1000], [10, 10])).toEqual([false, true, false, true]);
  });

  it('is told with source, id and both counts; what is kept for it does not grow', () => {
    const state: Pick<JobState, 'extents' | 'shrunk'> = {};
    for (let i = 0; i < 50; i++) noticeShrinking(state, made(100, 1000));
    expect(state.extents?.s).toHaveLength(5);
    expect(noticeShrinking(state, made(3, 20, 'id7'))).toEqual([
      's: snapshot id7 holds 3 files, less than half of the 100 before',
    ]);
    expect(state.shrunk).toEqual(['s']);
  });

  it('is read from what a backup and a capture say at their end', () => {
    const volumes = [
      { entries: 2, tarBytes: 10 },
      { entries: 3, tarBytes: 5 },
    ];
    expect(snapshotsOf({ snapshots: [{ id: 'a', source: 's', volumes }] })).toEqual(made(5, 15, 'a'));
    expect(snapshotsOf({ snapshot: { id: 'b', source: 's', bytes: 7 } })).toEqual(made(1, 7, 'b'));
    expect(snapshotsOf(undefined)).toEqual([]);
  });
});

describe('what is told of a run', () => {
  const outcome = (ok: boolean, more = {}) => ({ ok, retryable: !ok, ...more });
  const told = (ok: boolean, more = {}, before = {}, retrying = false) =>
    newsOf({
      job: 'a',
      outcome: outcome(ok, more),
      ended: { exit: ok ? 0 : 31 },
      seconds: 1,
      before: { failures: 0, ...before },
      retrying,
    }).map(({ event }) => event);

  it('a failure after its last try, success, and that it works again', () => {
    expect(told(false)).toEqual(['failure']);
    expect(told(false, {}, {}, true)).toEqual([]);
    expect(told(false, { engineGone: true })).toEqual([]);
    expect(told(false, { busy: true })).toEqual([]);
    expect(told(false, { stopped: true })).toEqual([]);
    expect(told(true)).toEqual(['success']);
    expect(told(true, {}, { failures: 2 })).toEqual(['success', 'recovery']);
    expect(told(true, {}, { silent: true })).toEqual(['success', 'recovery']);
  });
});

describe('templates of notifications', () => {
  it('have places, which are filled as they are, and not looked into again', () => {
    expect(templateNames('{{ job }}: {{text}} {x} {{')).toEqual(['job', 'text']);
    expect(fillTemplate('{{job}} {{ text }} {{other}}', { job: '{{text}}', text: '$&' })).toBe(
      '{{text}} $& {{other}}',
    );
  });

  it('give a message its own words, in one line as a title', async () => {
    const got: string[] = [];
    const http = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      got.push(body);
      response.end();
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    afterwards(async () => void http.close());
    const { port } = http.address() as AddressInfo;
    const config = parseConfig(
      `notifications: { n: { webhook: { url: "http://127.0.0.1:${port}/" }, on: [shrink], title: "{{event}}\\n{{job}}", text: "{{text}} at {{at}}" } }`,
      'x',
      {},
      () => undefined,
    );
    const log = { info() {}, warn() {}, error: (message: string) => void got.push(message) };
    const about = { job: 'db', text: 'it shrank', at: new Date(0) };
    await tellNews(config, { ...about, event: 'shrink' }, log, new AbortController().signal);
    await tellNews(config, { ...about, event: 'failure' }, log, new AbortController().signal);
    expect(got.map((body) => JSON.parse(body))).toEqual([
      expect.objectContaining({
        event: 'shrink',
        title: 'shrink db',
        text: 'it shrank at 1970-01-01T00:00:00.000Z',
      }),
    ]);
  });
});
