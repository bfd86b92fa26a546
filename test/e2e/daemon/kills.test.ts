import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { startDaemon } from '../../support/daemon.ts';
import { helpers, site } from '../../support/site.ts';
import { random, rounds, seed } from '../../support/soak.ts';
import { tempDir } from '../../support/temp.ts';
import type { Json } from '../../support/volbak.ts';

const ROUNDS = rounds(8, 50);

describe('kill -9 of the daemon', () => {
  it(
    `at ${ROUNDS} points: no service stays stopped, no run is lost, none that ended is repeated`,
    async () => {
      const at = await site();
      const db = at.name('db');
      const volume = await at.volume('v', 'head -c 60000000 /dev/urandom >file');
      await at.docker(
        ...['run', '-d', '--network', 'none', '--stop-signal', 'KILL', '--name', db],
        ...['-v', `${volume}:/data`, 'toolbox', 'sleep', '3600'],
      );
      const file = path.join(await tempDir(), 'volbak.yaml');
      await writeFile(
        file,
        `repositories: { main: { url: ${at.repo} } }\ndefaults: { host: "${at.host}" }\ndaemon: { grace: 30s }\njobs:\n` +
          `  tick: { backup: { containers: [${db}], stop: true, full: true }, schedule: "*/4 * * * * *" }\n` +
          '  after: { verify: { quick: true }, after: tick }\n',
      );
      const chance = random(seed());
      const log: Json[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const daemon = await startDaemon(['--config', file]);
        if (round % 4 === 3) await daemon.says(/^tick starts/);
        await new Promise((resolve) => setTimeout(resolve, chance() * 4000));
        daemon.child.kill('SIGKILL');
        await daemon.ended;
        log.push(...daemon.log);
      }
      const last = await startDaemon(['--config', file]);
      await last.says(/ answers$/);
      await last.says(/^after is done/);
      last.child.kill('SIGTERM');
      expect(await last.ended).toMatchObject({ exit: 0 });
      log.push(...last.log);

      expect(await at.docker('inspect', '-f', '{{.State.Running}}', db)).toBe('true');
      expect(await helpers(at.host)).toBe('');
      const starts = log.filter(({ msg }) => msg === 'tick starts');
      const due = new Set(starts.map((line) => line.due));
      expect(starts.length).toBeGreaterThan(1);
      const snapshots = await at.document('snapshots');
      const story = () =>
        log.map(({ time, msg, due: when, why }) => [time, msg, when, why].join(' ')).join('\n');
      expect(snapshots.length, story()).toBe(due.size);
      expect(log.filter(({ msg }) => / failed/.test(msg))).toEqual([]);
    },
    ROUNDS * 25_000 + 60_000,
  );
});
