import { describe, expect, it } from 'vitest';
import { commandOf } from '../../src/config/jobs.ts';
import { labelJobs } from '../../src/config/labels.ts';
import { parseConfig } from '../../src/config/load.ts';
import { translateOffen } from '../../src/config/offen.ts';
import { shellWords } from '../../src/core/shell-words.ts';
import { joined } from '../../src/daemon/jobs.ts';

const O = 'docker-volume-backup.';

function jobsOf(config: string, labels: Record<string, string>) {
  const parsed = parseConfig(config, 'x', {}, () => undefined);
  const container = { name: 'db', labels, volumes: ['data'], binds: false };
  const found = labelJobs(parsed, [container], {
    engine: 'host',
    recipes: new Map(),
    checkSchedule: () => undefined,
  });
  return { ...found, config: joined(parsed, found) };
}

describe('labels of offen/docker-volume-backup', () => {
  const stop = { [`${O}stop-during-backup`]: 'true' };

  it('mean nothing unless they are asked for', () => {
    expect(jobsOf('labels: {}', stop)).toMatchObject({ jobs: {}, problems: [] });
  });

  it('stop-during-backup: backed up and stopped meanwhile, with its own value only where that is the group', () => {
    const { jobs } = jobsOf('labels: { offen: true, schedule: "@hourly" }', stop);
    expect(jobs).toEqual({
      'db:backup': { backup: { containers: ['db'], stop: true }, schedule: '@hourly' },
    });
    const grouped = { [`${O}stop-during-backup`]: 'service1' };
    expect(jobsOf('labels: { offen: true }', grouped).jobs).toEqual({});
    expect(jobsOf('labels: { offen: { stop: service1 } }', grouped).jobs).toHaveProperty('db:backup');
  });

  it('archive-pre and -post: run in the container, as words and by their user', async () => {
    const labels = {
      [`${O}archive-pre`]: `/bin/sh -c 'dump > "/data/x y"'`,
      [`${O}archive-pre.user`]: 'git',
      [`${O}exec-post`]: 'rm /data/x\\ y',
    };
    const { config, problems } = jobsOf('labels: { offen: true, host: "tcp://far:2376" }', labels);
    expect(problems).toEqual([]);
    expect((await commandOf(config, 'db:backup')).hooks).toEqual({
      host: 'tcp://far:2376',
      container: 'db',
      timeout: '1h',
      before: { command: ['/bin/sh', '-c', 'dump > "/data/x y"'], user: 'git' },
      after: { command: ['rm', '/data/x y'] },
    });
  });

  it('exec-label: commands of that group alone', () => {
    const labels = { ...stop, [`${O}archive-pre`]: 'dump', [`${O}exec-label`]: 'database' };
    const hooks = (offen: string) => jobsOf(`labels: { offen: ${offen} }`, labels).jobs['db:backup']?.hooks;
    expect(hooks('true')).toMatchObject({ before: ['dump'] });
    expect(hooks('{ exec: database }')).toMatchObject({ before: ['dump'] });
    expect(hooks('{ exec: other }')).toBeUndefined();
  });

  it('labels of ours on the same container count before them', () => {
    const { jobs } = jobsOf('labels: { offen: true }', { ...stop, 'volbak.stop': 'false' });
    expect(jobs['db:backup']).toMatchObject({ backup: { stop: false } });
    expect(jobsOf('labels: { offen: true }', { ...stop, 'volbak.enable': 'false' }).jobs).toEqual({});
  });

  it.each([
    [{ 'stop-during-backup-no-restart': 'true' }, 'starts again; it is not stopped'],
    [{ 'copy-post': 'x' }, 'there is no such moment here'],
    [{ 'archive-per': 'x' }, "did you mean 'docker-volume-backup.archive-pre'?"],
    [{ 'archive-pre': "sh -c 'x" }, 'it is no command'],
    [{ 'archive-pre': ' ' }, 'it is no command'],
  ])('%j is told', (labels, message) => {
    const full = Object.fromEntries(Object.entries(labels).map(([name, value]) => [`${O}${name}`, value]));
    expect(translateOffen(true, full).problems).toEqual([expect.stringContaining(message)]);
  });
});

describe('words of a command', () => {
  it.each<[string, string[] | undefined]>([
    ['a  b\tc ', ['a', 'b', 'c']],
    [`'a b'"c d"e`, ['a bc de']],
    [`a\\ b "\\"x\\y" '\\'`, ['a b', '"x\\y', '\\']],
    [`"" ''`, ['', '']],
    ['$HOME | x', ['$HOME', '|', 'x']],
    ['', []],
    [`"a`, undefined],
  ])('%j', (text, words) => {
    expect(shellWords(text)).toEqual(words);
  });
});

describe('labels and jobs with commands of ours', () => {
  it('before and after are scripts, or lists', async () => {
    const { config } = jobsOf('labels: {}', {
      'volbak.enable': 'true',
      'volbak.before': 'dump >/data/x',
      'volbak.after': '["rm", "/data/x"]',
      'volbak.after-user': 'root',
    });
    expect((await commandOf(config, 'db:backup')).hooks).toMatchObject({
      before: { command: 'dump >/data/x' },
      after: { command: ['rm', '/data/x'], user: 'root' },
    });
  });
});
