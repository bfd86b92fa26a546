import { expect, it } from 'vitest';
import type { LabelJobs } from '../../src/config/labels.ts';
import { parseConfig } from '../../src/config/load.ts';
import { systemClock } from '../../src/core/clock.ts';
import { Daemon } from '../../src/daemon/daemon.ts';
import type { Finder } from '../../src/daemon/found.ts';
import { tempDir } from '../support/temp.ts';

const NONE: LabelJobs = { jobs: {}, claims: {}, problems: [] };
const ONE: LabelJobs = {
  ...NONE,
  jobs: { 'a:backup': { backup: { containers: ['a'] }, schedule: '* * * * * *' } },
};

it('a job that goes in the moment in which it starts is run, once, and what was due is not run again when it is back', async () => {
  const stateDirectory = await tempDir();
  const end = new AbortController();
  const said: { level: string; message: string; due?: string }[] = [];
  let finder: Finder | undefined;
  const say =
    (level: string) =>
    (message: string, fields: object = {}) => {
      said.push({ level, message, ...fields });
      if (message === 'a:backup starts') finder?.found(NONE);
      if (message === 'a:backup is done') finder?.found(ONE);
      if (said.filter((line) => line.message === 'a:backup is done').length === 3) end.abort();
    };
  await Daemon.run(
    {
      readConfig: async () => parseConfig('labels: {}', 'x', {}, () => undefined),
      discover: async (_, given, signal) => {
        finder = given;
        finder.found(ONE);
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      },
      program: {
        file: '/bin/sh',
        arguments: ['-c', 'read -r line'],
        environment: { PATH: process.env.PATH },
      },
      manners: [],
      stateDirectory,
      systemZone: 'UTC',
      version: '0',
      clock: systemClock,
      log: { info: say('info'), warn: say('warn'), error: say('error') },
      signal: end.signal,
      listen: undefined,
      notify: async () => {},
    },
    () => {},
  );
  expect(said.filter(({ level }) => level === 'error')).toEqual([]);
  const due = said.filter(({ message }) => message === 'a:backup starts').map((line) => line.due);
  expect(due.length).toBeGreaterThanOrEqual(3);
  expect(new Set(due).size).toBe(due.length);
});
