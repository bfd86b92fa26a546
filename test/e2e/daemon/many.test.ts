import { appendFile, chmod, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { discoverLabels } from '../../../src/cli/labels.ts';
import { jsonOutput } from '../../../src/cli/render/json.ts';
import { Runtime } from '../../../src/cli/runtime.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { Daemon } from '../../../src/daemon/daemon.ts';
import { connect } from '../../../src/engine/connect.ts';
import { resolveEndpoint } from '../../../src/engine/endpoint.ts';
import { site } from '../../support/site.ts';
import { random, rounds, seed } from '../../support/soak.ts';
import { tempDir } from '../../support/temp.ts';
import type { Json } from '../../support/volbak.ts';

const CONTAINERS = 200;
/** Each container is due so often, in seconds. */
const EVERY = 30;
const CHURN_MS = rounds(45_000, 600_000);

/** Stands for volbak's commands, as a backup of each would take longer than there is: notes when it began and ended. */
const PROGRAM = `#!/bin/sh
read -r line
case $line in *'"job"'*) ;; *) exit 0 ;; esac
job=\${line#*'"job":"'} job=\${job%%'"'*}
echo "$(date +%s%N) begin $job" >>"$RUNS"
sleep 0.3
echo "$(date +%s%N) end $job" >>"$RUNS"
`;

describe('a real engine with many containers', () => {
  it(
    `${CONTAINERS} that come and go: no run is missed, doubled or beside another of its volume`,
    async () => {
      const at = await site();
      const dir = await tempDir();
      const [program, runs] = [path.join(dir, 'program'), path.join(dir, 'runs')];
      await writeFile(program, PROGRAM);
      await chmod(program, 0o755);
      await appendFile(runs, '');
      const { docker } = await connect(resolveEndpoint({ host: at.host, env: {}, homeDir: dir }));
      const names = Array.from({ length: CONTAINERS }, (_, i) => at.name(`c${i}`));
      const make = async (i: number) => {
        await docker.createContainer({
          name: names[i] as string,
          Image: 'toolbox',
          Cmd: ['true'],
          Labels: {
            site: at.name(),
            'volbak.enable': 'true',
            'volbak.schedule': `*/${EVERY} * * * * *`,
            'volbak.jitter': `${EVERY - 10}s`,
          },
          HostConfig: {
            NetworkMode: 'none',
            Mounts: [{ Type: 'volume', Source: at.name(`v${i >> 1}`), Target: '/data' }],
          },
        });
      };
      const remove = (i: number) => docker.getContainer(names[i] as string).remove({ force: true });
      const inGroups = async (all: number[], work: (i: number) => Promise<unknown>) => {
        for (let from = 0; from < all.length; from += 8)
          await Promise.all(all.slice(from, from + 8).map(work));
      };
      const all = names.map((_, i) => i);
      await inGroups(all, make);

      const log: Json[] = [];
      const say =
        (level: string) =>
        (msg: string, fields: object = {}) =>
          void log.push({ level, msg, ...fields });
      const end = new AbortController();
      const output = jsonOutput({ stdout() {}, stderr() {} }, true);
      const globals = { host: at.host, color: false, progress: false, retryFor: 0 };
      const runtime = new Runtime(globals, output, end.signal, async () => 0);
      const config = parseConfig(
        `labels: { filter: "site=${at.name()}" }\ndaemon: { jobs: 40, grace: 20s }\ndefaults: { host: "${at.host}" }\n`,
        'x',
        {},
        () => undefined,
      );
      const ended = Daemon.run(
        {
          readConfig: async () => config,
          discover: discoverLabels(runtime),
          program: { file: program, arguments: [], environment: { PATH: process.env.PATH, RUNS: runs } },
          manners: [],
          stateDirectory: dir,
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
      const until = async (condition: () => boolean) => {
        const limit = Date.now() + 60_000;
        while (!condition() && Date.now() < limit) await new Promise((resolve) => setTimeout(resolve, 50));
        expect(condition()).toBe(true);
      };
      await until(() => log.some(({ msg }) => msg.startsWith(`labels: ${CONTAINERS} jobs came`)));
      const began = Date.now();
      const chance = random(seed());
      while (Date.now() < began + CHURN_MS) {
        const some = [...new Set(Array.from({ length: 8 }, () => Math.floor(chance() * CONTAINERS)))];
        await inGroups(some, remove);
        await new Promise((resolve) => setTimeout(resolve, chance() * 3000));
        await inGroups(some, make);
        await new Promise((resolve) => setTimeout(resolve, chance() * 500));
      }
      // All are there: what was due by now must have been run after one more round.
      const churned = Date.now();
      await new Promise((resolve) => setTimeout(resolve, EVERY * 1000 + 5000));
      end.abort();
      await ended;

      const starts = log.filter(({ msg }) => / starts$/.test(msg));
      const expected = [];
      for (let due = Math.ceil(began / 1000 / EVERY) * EVERY * 1000; due < churned; due += EVERY * 1000)
        expected.push(new Date(due).toISOString());
      expect(expected.length).toBeGreaterThan(0);
      for (const name of names) {
        const due = starts.filter(({ job }) => job === `${name}:backup`).map((line) => line.due);
        expect(due.length, `${name} has no run twice: ${due}`).toBe(new Set(due).size);
        expect(due, `${name} has missed none`).toEqual(expect.arrayContaining(expected));
      }
      expect(log.filter(({ level }) => level === 'error')).toEqual([]);
      expect(together(await readFile(runs, 'utf8'), names)).toEqual([]);
    },
    CHURN_MS + 240_000,
  );
});

/** Runs that began while another one of the same volume had not ended. */
function together(text: string, names: readonly string[]): string[] {
  const busy = new Map<number, string>();
  const wrong: string[] = [];
  for (const line of text.trim().split('\n').sort()) {
    const [, what, job = ''] = line.split(' ');
    const volume = names.indexOf(job.replace(/:backup$/, '')) >> 1;
    if (what === 'end') busy.delete(volume);
    else if (busy.has(volume)) wrong.push(`${job} beside ${busy.get(volume)}`);
    else busy.set(volume, job);
  }
  return wrong;
}
