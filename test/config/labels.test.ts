import { describe, expect, it } from 'vitest';
import { claimsOf, commandOf } from '../../src/config/jobs.ts';
import { type LabelJobs, type ListedContainer, labelJobs } from '../../src/config/labels.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { ConfigFile } from '../../src/config/schema.ts';
import { VolbakError } from '../../src/core/errors.ts';
import { joined, scheduledJobs } from '../../src/daemon/jobs.ts';
import { scheduleProblem } from '../../src/schedule/cron.ts';

const NOW = new Date('2026-11-21T00:00:00Z');
const check = (schedule: string, zone: string | undefined) => scheduleProblem(schedule, zone, NOW);
const parse = (text: string): ConfigFile => parseConfig(text, 'volbak.yaml', {}, check);

const RECIPES = new Map([
  ['postgres', { capture: 'postgres.sql', drill: true }],
  ['checksums', { drill: false }],
]);

function container(name: string, labels: Record<string, string>, more: Partial<ListedContainer> = {}) {
  return { name, labels, volumes: [`${name}-data`], binds: false, ...more };
}

function jobsOf(config: string, ...containers: ListedContainer[]): LabelJobs {
  return labelJobs(parse(config), containers, { engine: 'host', recipes: RECIPES, checkSchedule: check });
}

const ON = { 'volbak.enable': 'true' };
const LABELS = 'labels: {}\n';
const problemsOf = (labels: Record<string, string>) =>
  jobsOf(LABELS, container('db', { ...ON, ...labels })).problems.map(({ message }) => message);

describe('a container with labels', () => {
  it('enabled alone is backed up daily; without the label, or with false, it is not', () => {
    const { jobs, problems } = jobsOf(
      LABELS,
      container('db', ON),
      container('off', { 'volbak.enable': 'false', 'volbak.stop': 'true' }),
      container('other', { 'com.example': 'x' }),
    );
    expect(jobs).toEqual({ 'db:backup': { backup: { containers: ['db'] }, schedule: '@daily' } });
    expect(problems).toEqual([]);
  });

  it('has the options of the command line, with their names', async () => {
    const { jobs, problems, claims } = jobsOf(
      'labels: {}\nrepositories: { main: { url: /backup }, other: { url: /other } }\ndefaults: { repository: main }\n',
      container('db', {
        ...ON,
        'volbak.schedule': '0 3 * * *',
        'volbak.timezone': 'Europe/Berlin',
        'volbak.jitter': '10m',
        'volbak.overlap': 'skip',
        'volbak.missed': 'skip',
        'volbak.repository': 'other',
        'volbak.stop': 'yes',
        'volbak.exclude': '*.tmp, cache/**',
        'volbak.only': '["/data,1"]',
        'volbak.include-binds': '',
        'volbak.tag': 'of=shop,tier=1',
        'volbak.full': '0',
        'volbak.keep-daily': '7',
        'volbak.keep-within': '4w',
        'volbak.verify': 'true',
        'volbak.drill': '@weekly',
        'volbak.drill-recipe': 'postgres',
      }),
    );
    expect(problems).toEqual([]);
    expect(claims['db:backup']).toEqual(['|volume/db-data']);
    const config = joined(
      parse(
        'labels: {}\nrepositories: { main: { url: /backup }, other: { url: /other } }\ndefaults: { repository: main }\n',
      ),
      { jobs },
    );
    const line = async (job: string) => (await commandOf(config, job)).argv.join(' ');
    expect(await line('db:backup')).toBe(
      '--repo=/other backup --only=/data,1 --exclude=*.tmp --exclude=cache/** --include-binds --stop --tag=of=shop --tag=tier=1 -- db',
    );
    expect(await line('db:forget')).toBe(
      '--repo=/other forget --keep-daily=7 --keep-within=4w --source=host/container/db --timezone=Europe/Berlin',
    );
    expect(await line('db:verify')).toBe('--repo=/other verify -- host/container/db');
    expect(await line('db:drill')).toBe('--repo=/other drill --recipe=postgres -- host/container/db');
    expect(config.jobs['db:backup']).toMatchObject({
      schedule: '0 3 * * *',
      timezone: 'Europe/Berlin',
      jitter: '10m',
      overlap: 'skip',
      missed: 'skip',
    });
    expect(config.jobs['db:forget']?.after).toBe('db:backup');
    expect(config.jobs['db:verify']?.after).toBe('db:backup');
    expect(config.jobs['db:drill']).toMatchObject({ schedule: '@weekly' });
  });

  it('with a recipe gets its dump in place of its files, and rules are for the dump', () => {
    const { jobs } = jobsOf(
      LABELS,
      container('db', { ...ON, 'volbak.recipe': 'postgres', 'volbak.keep-last': '3' }),
    );
    expect(jobs['db:backup']).toMatchObject({ handle: { container: 'db', recipe: 'postgres' } });
    expect(jobs['db:forget']).toMatchObject({ forget: { source: ['host/container/db:postgres.sql'] } });
  });

  it('takes what volbak.yaml says for all, and says otherwise for itself', () => {
    const config = 'labels: { schedule: "0 4 * * *", stop: true, keep-last: 5, host: "tcp://far:2376" }\n';
    const { jobs } = jobsOf(
      config,
      container('a', ON),
      container('b', {
        ...ON,
        'volbak.pause': 'true',
        'volbak.schedule': '@hourly',
        'volbak.keep-last': '9',
      }),
      container('c', { ...ON, 'volbak.stop': 'false' }),
    );
    expect(jobs['a:backup']).toEqual({
      backup: { containers: ['a'], stop: true },
      schedule: '0 4 * * *',
      host: 'tcp://far:2376',
    });
    expect(jobs['b:backup']).toMatchObject({ backup: { pause: true }, schedule: '@hourly' });
    expect(jobs['b:backup']?.backup).not.toHaveProperty('stop');
    expect(jobs['b:forget']?.forget).toMatchObject({ 'keep-last': 9 });
    expect(jobs['c:backup']?.backup).toMatchObject({ stop: false });
  });

  it('of a Swarm goes by its slot, and its volumes by themselves: a task has another name each time', () => {
    const task = (id: string) =>
      jobsOf(
        LABELS,
        container(
          `shop_db.1.${id}`,
          {
            ...ON,
            'volbak.keep-last': '1',
            'com.docker.swarm.task.name': `shop_db.1.${id}`,
          },
          { volumes: ['shop_data'] },
        ),
      );
    expect(task('abc')).toEqual(task('def'));
    expect(task('abc').jobs).toMatchObject({
      'shop_db.1:backup': { backup: { volume: ['shop_data'] } },
      'shop_db.1:forget': { forget: { source: ['host/volume/shop_data'] } },
    });
  });
});

describe("other people's stacks", () => {
  const shop = { 'com.docker.compose.project': 'shop', ...ON };
  const all = [
    container('shop-db-1', shop),
    container('blog-db-1', { 'com.docker.compose.project': 'blog', 'volbak.nonsense': 'x', ...ON }),
    container('lone', { ...ON, tier: 'gold' }),
  ];
  const names = (config: string) => Object.keys(jobsOf(config, ...all).jobs);

  it('stay alone where a project or a label is asked for, their labels unread', () => {
    expect(names(LABELS)).toEqual(['shop-db-1:backup', 'blog-db-1:backup', 'lone:backup']);
    expect(names('labels: { project: shop }')).toEqual(['shop-db-1:backup']);
    expect(names('labels: { project: [shop, blog] }')).toEqual(['shop-db-1:backup', 'blog-db-1:backup']);
    expect(names('labels: { filter: tier=gold }')).toEqual(['lone:backup']);
    expect(names('labels: { filter: [tier, com.docker.compose.project] }')).toEqual([]);
    expect(names('labels: { enable: false }')).toEqual([]);
    expect(names('jobs: {}')).toEqual([]);
    expect(jobsOf('labels: { project: shop }', ...all).problems).toEqual([]);
  });

  it('a container that Compose is about to replace has no job of its own', () => {
    const old = container('0123456789ab_shop-db-1', shop);
    expect(Object.keys(jobsOf(LABELS, old, container('shop-db-1', shop)).jobs)).toEqual(['shop-db-1:backup']);
  });
});

describe('labels that are wrong are told, with the nearest that is known', () => {
  it.each<[string, Record<string, string>, string]>([
    [
      'unknown',
      { 'volbak.shedule': '@daily' },
      "unknown label 'volbak.shedule'; did you mean 'volbak.schedule'?",
    ],
    [
      'of enable',
      { 'volbak.enabled': 'true' },
      "unknown label 'volbak.enabled'; did you mean 'volbak.enable'?",
    ],
    [
      'no flag',
      { 'volbak.stop': 'ture' },
      "label volbak.stop=ture: it must be true or false; did you mean 'true'?",
    ],
    [
      'no schedule',
      { 'volbak.schedule': '0 25 * * *' },
      'label volbak.schedule=0 25 * * *: it must be a schedule',
    ],
    [
      'no number',
      { 'volbak.keep-daily': 'seven' },
      'label volbak.keep-daily=seven: it must be a whole number from 1',
    ],
    ['zero', { 'volbak.keep-last': '0' }, 'label volbak.keep-last=0: '],
    ['no duration', { 'volbak.jitter': '10' }, 'label volbak.jitter=10: it must be a duration'],
    ['no zone', { 'volbak.timezone': 'Berlin' }, 'label volbak.timezone=Berlin: it must be a time zone'],
    ['no choice', { 'volbak.overlap': 'skp' }, "did you mean 'skip'?"],
    ['no pairs', { 'volbak.tag': 'shop' }, 'label volbak.tag=shop: it must be key=value'],
    ['two that exclude', { 'volbak.stop': '1', 'volbak.pause': '1' }, 'exclude each other'],
    ['no repository', { 'volbak.repository': 'man' }, "unknown repository 'man'"],
    ['no recipe', { 'volbak.recipe': 'postgers' }, "unknown recipe 'postgers'; did you mean 'postgres'?"],
    ['a recipe without a dump', { 'volbak.recipe': 'checksums' }, "recipe 'checksums' makes no dump"],
    ['no drill recipe', { 'volbak.drill': '1', 'volbak.drill-recipe': 'x' }, "unknown recipe 'x'"],
    [
      'a verify that is no schedule',
      { 'volbak.verify': 'often' },
      'label volbak.verify=often: it must be a schedule',
    ],
  ])('%s', (_, labels, message) => {
    expect(problemsOf(labels)).toEqual([expect.stringContaining(message)]);
  });

  it('where enable is missing or wrong: such a container is not backed up, and that is said', () => {
    const { jobs, problems } = jobsOf(
      LABELS,
      container('a', { 'volbak.stop': 'true' }),
      container('b', { 'volbak.enable': 'ture' }),
      container('c', ON, { volumes: [] }),
      container('d', ON, { volumes: [], binds: true }),
    );
    expect(jobs).toEqual({});
    expect(problems.map(({ container: name, message }) => `${name}: ${message}`)).toEqual([
      'a: it has no label volbak.enable=true: nothing backs it up',
      'b: label volbak.enable=ture: it must be true or false',
      'b: it has no label volbak.enable=true: nothing backs it up',
      'c: it has no volumes: there is nothing to back up',
      'd: it has bind mounts, but no volumes: volbak.include-binds=true backs them up',
    ]);
  });

  it('the rest still counts, but nothing is forgotten as long as anything is wrong', () => {
    const labels = { ...ON, 'volbak.keep-last': '1', 'volbak.keep-dayly': '7', 'volbak.schedule': '@hourly' };
    const { jobs } = jobsOf('labels: { prune: "@weekly" }', container('db', labels));
    expect(jobs).toEqual({ 'db:backup': { backup: { containers: ['db'] }, schedule: '@hourly' } });
  });

  it('one that several repositories could be meant by must say which', () => {
    const config = 'labels: {}\nrepositories: { a: { url: /a }, b: { url: /b } }\n';
    expect(jobsOf(config, container('db', ON)).problems[0]?.message).toContain('there are several: a, b');
  });

  it('a wrong schedule is replaced by the daily one: the container is not forgotten', () => {
    expect(jobsOf(LABELS, container('db', { ...ON, 'volbak.schedule': 'x' })).jobs).toMatchObject({
      'db:backup': { schedule: '@daily' },
    });
  });
});

describe('volbak.yaml about labels', () => {
  const complaint = (text: string) => {
    try {
      parse(text);
    } catch (error) {
      if (error instanceof VolbakError) return error.message;
    }
    return '';
  };

  it.each([
    ['labels: { shedule: "@daily" }', "unknown key 'shedule'; did you mean 'schedule'?"],
    ['labels: { schedule: "0 25 * * *" }', 'labels.schedule: it must be a schedule'],
    ['labels: { prune: never }', 'labels.prune: it must be a schedule'],
    ['labels: { repository: man }\nrepositories: { main: { url: /x } }', "did you mean 'main'?"],
    ['labels: { stop: true, pause: true }', 'labels.pause: stop and pause exclude each other'],
    ['jobs: { a: { prune: {}, after: "db:backup" } }', "unknown job 'db:backup'"],
  ])('%s', (text, message) => {
    expect(complaint(text)).toContain(message);
  });

  it('jobs of labels may be waited for and told of', () => {
    expect(
      complaint(
        'labels: {}\njobs: { a: { prune: {}, after: "db:backup" } }\nnotifications: { n: { ntfy: { url: "https://x" }, jobs: ["db:backup"] } }',
      ),
    ).toBe('');
  });

  it('space is freed by the schedule that it says, as soon as a container forgets', () => {
    const config = 'labels: { prune: "@weekly", repository: main }\nrepositories: { main: { url: /x } }';
    expect(jobsOf(config, container('a', ON)).jobs).not.toHaveProperty('labels:prune');
    expect(jobsOf(config, container('a', { ...ON, 'volbak.keep-last': '1' })).jobs['labels:prune']).toEqual({
      prune: {},
      schedule: '@weekly',
      repository: 'main',
    });
  });
});

describe('jobs of labels for the scheduler', () => {
  it('claim container and volumes, and may come back', () => {
    const config = parse(LABELS);
    const found = jobsOf(LABELS, container('a', ON), container('b', ON, { volumes: ['a-data'] }));
    const [a, b] = scheduledJobs(joined(config, found), 'UTC', found);
    expect(a).toMatchObject({ lasting: true, claims: ['|container/a', '|volume/a-data'] });
    expect(b?.claims).toContain('|volume/a-data');
    expect(claimsOf(config, {})).toEqual([]);
  });

  it('of a repository that volbak.yaml no longer knows are left out, and never go to another one', () => {
    const repositories = 'repositories: { main: { url: /x } }\n';
    const found = jobsOf(`labels: { repository: main }\n${repositories}`, container('a', ON));
    expect(joined(parse('labels: {}'), found).jobs).toEqual({});
  });
});
