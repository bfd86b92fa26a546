// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the syntax of volbak.yaml
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import * as backup from '../../src/cli/commands/backup.ts';
import * as copy from '../../src/cli/commands/copy.ts';
import * as drill from '../../src/cli/commands/drill.ts';
import * as forget from '../../src/cli/commands/forget.ts';
import * as handle from '../../src/cli/commands/handle.ts';
import * as prune from '../../src/cli/commands/prune.ts';
import * as verify from '../../src/cli/commands/verify.ts';
import { ACTION_NAMES, ACTIONS } from '../../src/config/actions.ts';
import { claimsOf, commandOf } from '../../src/config/jobs.ts';
import { parseConfig } from '../../src/config/load.ts';
import { type ConfigFile, configJsonSchema } from '../../src/config/schema.ts';
import { VolbakError } from '../../src/core/errors.ts';
import { scheduleProblem } from '../../src/schedule/cron.ts';
import { tempDir } from '../support/temp.ts';

const NOW = new Date('2026-11-21T00:00:00Z');

function parse(text: string, environment: NodeJS.ProcessEnv = {}): ConfigFile {
  return parseConfig(text, 'volbak.yaml', environment, (schedule, zone) =>
    scheduleProblem(schedule, zone, NOW),
  );
}

function complaint(text: string, environment: NodeJS.ProcessEnv = {}): VolbakError {
  try {
    parse(text, environment);
  } catch (error) {
    if (error instanceof VolbakError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

const job = (yaml: string) => `jobs:\n  nightly:\n    ${yaml}\n`;

describe('a configuration that is wrong is refused with exit 78, file, line, column and what was meant', () => {
  it.each<[string, string, string]>([
    ['an unknown key', 'job: {}\n', "volbak.yaml:1:1: unknown key 'job'; did you mean 'jobs'?"],
    [
      'an unknown option',
      job('backup: { containres: [db] }'),
      "3:15: unknown key 'containres'; did you mean 'containers'?",
    ],
    [
      'an option of another command',
      job('prune: { keep-last: 3 }'),
      "3:14: unknown key 'keep-last'; known: grace,",
    ],
    [
      'an unknown key of a job',
      job('backup: { containers: [db] }\n    shedule: "@daily"'),
      "4:5: unknown key 'shedule'; did you mean 'schedule'?",
    ],
    [
      'a schedule that is none',
      job('backup: { containers: [db] }\n    schedule: "0 25 * * *"'),
      '4:15: jobs.nightly.schedule: it must be a schedule',
    ],
    [
      'a schedule that never comes',
      job('backup: { containers: [db] }\n    schedule: "0 0 30 2 *"'),
      '4:15: jobs.nightly.schedule: it never comes',
    ],
    [
      'no time zone',
      job('backup: { containers: [db] }\n    timezone: Europe/Berlim'),
      '4:15: jobs.nightly.timezone: it must be a time zone',
    ],
    [
      'a template with an unknown place',
      'notifications: { a: { ntfy: { url: "https://x" }, title: "{{jop}}" } }\n',
      "notifications.a.title: unknown place 'jop'; did you mean 'job'?",
    ],
    [
      'a template that takes from the environment',
      'notifications: { a: { ntfy: { url: "https://x" }, text: "${TOKEN}" } }\n',
      '1:57: a template takes nothing from the environment',
    ],
    [
      'a silence that is none',
      job('backup: { containers: [db] }\n    silence: 36'),
      '4:14: jobs.nightly.silence: ',
    ],
    ['a job that does nothing', job('schedule: "@daily"'), '2:3: jobs.nightly: it must have one of backup,'],
    [
      'a job that does two things',
      job('prune: {}\n    verify: {}'),
      '2:3: jobs.nightly: it must have one of backup,',
    ],
    [
      'a backup of nothing',
      job('backup: { stop: true }'),
      '3:13: jobs.nightly.backup: it must have one of containers, volume, all',
    ],
    [
      'stop and pause',
      job('backup: { all: true, stop: true, pause: true }'),
      'stop and pause exclude each other',
    ],
    ['forget without a rule', job('forget: { source: [db] }'), 'it must have a rule'],
    ['a copy to nowhere', job('copy: { all: true }'), 'it must have one of to'],
    [
      'an unknown job to run after',
      job('prune: {}\n    after: tydy\n  tidy: { prune: {} }'),
      "4:12: jobs.nightly.after: unknown job 'tydy'; did you mean 'tidy'?",
    ],
    [
      'jobs that wait for each other',
      'jobs:\n  a: { prune: {}, after: b }\n  b: { prune: {}, after: a }\n',
      '2:26: jobs.a.after: these jobs wait for each other',
    ],
    [
      'schedule and after',
      job('prune: {}\n    schedule: "@daily"\n    after: nightly'),
      '5:5: jobs.nightly.after: schedule and after exclude each other',
    ],
    [
      'an unknown repository',
      `repositories: { main: { url: /r } }\n${job('prune: {}\n    repository: mian')}`,
      "5:17: jobs.nightly.repository: unknown repository 'mian'; did you mean 'main'?",
    ],
    [
      'a choice between repositories',
      `repositories: { a: { url: /a }, b: { url: /b } }\n${job('prune: {}')}`,
      'jobs.nightly: it must say which repository',
    ],
    [
      'a secret and its file',
      'repositories: { main: { url: /r, passphrase: x, passphrase_file: /p } }\n',
      '1:34: repositories.main.passphrase: passphrase and passphrase_file exclude each other',
    ],
    [
      'a duration without a unit',
      job('prune: { grace: "3" }'),
      '3:21: jobs.nightly.prune.grace: it must be a duration',
    ],
    [
      'environment that is not there',
      'repositories: { main: { url: "${NOWHERE}" } }\n',
      '1:30: the environment has no NOWHERE',
    ],
  ])('%s', (_, text, message) => {
    const error = complaint(text);
    expect(error.message).toContain(message);
    expect(error.exitCode).toBe(78);
  });

  it('a value from the environment stands in no message', () => {
    const text =
      'repositories: { main: { url: /r } }\ndefaults: { repository: main, timezone: "${SECRET}" }\n';
    expect(complaint(text, { SECRET: 'hunter2' }).message).not.toContain('hunter2');
  });
});

describe('a job is a command line', () => {
  const NIGHTLY = `repositories: { main: { url: "s3://b/\${PLACE:-here}" } }
jobs:
  nightly:
    backup: { containers: [db, -odd], stop: true, exclude: ["*.tmp"], tag: { by: night } }
    schedule: "0 3 * * *"
    timezone: Europe/Berlin
  tidy: { prune: { grace: 2d, rewrite: false }, after: nightly }
  dump: { handle: { container: db, image: "db:1", arguments: [dump, --all], env: { A: "$\${B}" }, capture: a.sql } }
  away: { copy: { all: true, to: main }, host: "tcp://other:2376" }
`;

  it('with options under the names of the command line, and behind -- what is no option', async () => {
    const config = parse(NIGHTLY, {});
    expect((await commandOf(config, 'nightly')).argv).toEqual([
      '--repo=s3://b/here',
      'backup',
      '--exclude=*.tmp',
      '--stop',
      '--tag=by=night',
      '--',
      'db',
      '-odd',
    ]);
    expect((await commandOf(config, 'tidy')).argv).toEqual([
      '--repo=s3://b/here',
      'prune',
      '--grace=2d',
      '--no-rewrite',
    ]);
    expect((await commandOf(config, 'dump')).argv).toEqual([
      '--repo=s3://b/here',
      'handle',
      '--capture=a.sql',
      '--env=A=${B}',
      '--',
      'db',
      'db:1',
      'dump',
      '--all',
    ]);
    expect((await commandOf(config, 'away')).argv).toEqual([
      '--host=tcp://other:2376',
      '--repo=s3://b/here',
      'copy',
      '--to=s3://b/here',
      '--all',
    ]);
    await expect(commandOf(config, 'nightli')).rejects.toMatchObject({
      code: 'CONFIG',
      message: "unknown job 'nightli'; did you mean 'nightly'?",
    });
  });

  it('with ${ENV} from the environment', async () => {
    expect((await commandOf(parse(NIGHTLY, { PLACE: 'there' }), 'tidy')).argv[0]).toBe('--repo=s3://b/there');
  });

  it('whose secrets are in its environment, not in its words', async () => {
    const { writeFile } = await import('node:fs/promises');
    const file = path.join(await tempDir(), 'key');
    await writeFile(file, 'hunter2\n');
    const config = parse(`repositories:
  main: { url: "s3://b/p", access_key_id: me, secret_access_key_file: ${file}, passphrase_file: /run/pass }
  far: { url: /far, identity_file: /run/id }
jobs: { j: { copy: { all: true, to: far }, repository: main } }
`);
    const { argv, environment } = await commandOf(config, 'j');
    expect(argv.join(' ')).not.toContain('hunter2');
    expect(environment).toEqual({
      AWS_ACCESS_KEY_ID: 'me',
      AWS_SECRET_ACCESS_KEY: 'hunter2',
      VOLBAK_PASSPHRASE_FILE: '/run/pass',
      VOLBAK_IDENTITY_FILE: '/run/id',
    });
  });

  it('that claims its containers and volumes', () => {
    const config = parse(NIGHTLY, {});
    expect(claimsOf(config, config.jobs.nightly as never)).toEqual(['|container/db', '|container/-odd']);
    expect(claimsOf(config, config.jobs.dump as never)).toEqual(['|container/db']);
    expect(claimsOf(config, config.jobs.tidy as never)).toEqual([]);
  });
});

describe('the options of jobs are those of the commands', () => {
  const commands = { backup, handle, drill, copy, forget, prune, verify };

  it.each(ACTION_NAMES)('%s', (name) => {
    const program = new Command();
    commands[name].define(program, () => {});
    const long = program.commands[0]?.options.map((option) => option.long?.replace(/^--(no-)?/, '')) ?? [];
    const BY_HAND = ['dry-run', 'accept-missing'];
    const said = Object.entries(ACTIONS[name]).filter(
      ([, [kind]]) => kind !== 'argument' && kind !== 'arguments',
    );
    expect(said.map(([option]) => option).sort()).toEqual(
      long.filter((option) => !BY_HAND.includes(option ?? '')).sort(),
    );
  });
});

describe('schema/volbak.schema.json', () => {
  it('is what `npm run schema` writes', () => {
    const file = path.resolve(import.meta.dirname, '../../schema/volbak.schema.json');
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
  });
});
