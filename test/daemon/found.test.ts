import { describe, expect, it } from 'vitest';
import type { LabelJobs } from '../../src/config/labels.ts';
import { parseConfig } from '../../src/config/load.ts';
import { type Finder, FoundJobs } from '../../src/daemon/found.ts';

const config = (text: string) => parseConfig(text, 'x', {}, () => undefined);

function jobs(...names: string[]): LabelJobs {
  return {
    jobs: Object.fromEntries(names.map((name) => [name, { backup: { containers: [name] } }])),
    claims: {},
    problems: [],
  };
}

function world() {
  const said: string[] = [];
  const problems: string[] = [];
  const finders: { finder: Finder; signal: AbortSignal }[] = [];
  let changes = 0;
  const end = new AbortController();
  const found = new FoundJobs({
    discover: (_, finder, signal) => {
      finders.push({ finder, signal });
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    },
    log: {
      info: (message) => void said.push(message),
      warn: (message) => void said.push(message),
      error: (message) => void said.push(message),
    },
    signal: end.signal,
    changed: () => {
      changes++;
    },
    problem: (container, message) => void problems.push(`${container}: ${message}`),
  });
  const latest = () => finders.at(-1) as (typeof finders)[0];
  return { found, said, problems, finders, latest, changes: () => changes };
}

describe('jobs that are found', () => {
  it('come and go, told once each, and nothing happens where nothing changed', () => {
    const { found, latest, said, changes } = world();
    found.follow(config('labels: {}'));
    latest().finder.found(jobs('a:backup', 'b:backup'));
    latest().finder.found(jobs('a:backup', 'b:backup'));
    expect(changes()).toBe(1);
    latest().finder.found(jobs('b:backup', 'c:backup'));
    expect(Object.keys(found.current.jobs)).toEqual(['b:backup', 'c:backup']);
    expect(said).toEqual([
      'labels: 2 jobs came (a:backup, b:backup)',
      'labels: 1 job came (c:backup); 1 job went (a:backup)',
    ]);
  });

  it('stay while the engine is away, which is said once', () => {
    const { found, latest, said } = world();
    found.follow(config('labels: {}'));
    latest().finder.found(jobs('a:backup'));
    latest().finder.lost(new Error('gone'));
    latest().finder.lost(new Error('gone'));
    expect(Object.keys(found.current.jobs)).toEqual(['a:backup']);
    latest().finder.found(jobs('a:backup'));
    expect(said.slice(1)).toEqual([
      'labels stay as they were last seen: gone',
      'labels: the engine answers again',
    ]);
  });

  it('what is wrong is told once, and again after it was right in between', () => {
    const { found, latest, problems } = world();
    found.follow(config('labels: {}'));
    const wrong = { ...jobs('a:backup'), problems: [{ container: 'a', message: 'unknown label' }] };
    for (const each of [wrong, wrong, jobs('a:backup'), wrong]) latest().finder.found(each);
    expect(problems).toEqual(Array.from({ length: 2 }, () => 'a: container a: unknown label'));
    const two = ['one', 'two'].map((message) => ({ container: 'b', message }));
    latest().finder.found({ ...wrong, problems: [...wrong.problems, ...two] });
    expect(problems.slice(2)).toEqual(['b: container b: one\ncontainer b: two']);
  });

  it('another configuration is searched for anew; an answer for the old one no longer counts', async () => {
    const { found, finders, said } = world();
    found.follow(config('labels: {}'));
    finders[0]?.finder.found(jobs('a:backup'));
    found.follow(config('labels: { project: shop }'));
    expect(finders[0]?.signal.aborted).toBe(true);
    finders[0]?.finder.found(jobs());
    expect(Object.keys(found.current.jobs)).toEqual(['a:backup']);
    found.follow(config('jobs: {}'));
    expect(found.current.jobs).toEqual({});
    await found.end();
    expect(said.at(-1)).toBe('labels: 1 job went (a:backup)');
  });

  it('none at all is said: a daemon that does nothing must not look like one that works', () => {
    const { found, latest, said } = world();
    found.follow(config('labels: {}'));
    latest().finder.found(jobs());
    expect(said).toEqual(['no container is labelled volbak.enable=true, of those that were asked for']);
  });
});
