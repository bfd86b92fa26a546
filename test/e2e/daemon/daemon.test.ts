import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { startDaemon } from '../../support/daemon.ts';
import { stateOf } from '../../support/running.ts';
import { failure, helperAtWork, helpers, type Site, site } from '../../support/site.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { type Json, volbak } from '../../support/volbak.ts';

async function config(at: Site, jobs: string, more = ''): Promise<string> {
  const file = path.join(await tempDir(), 'volbak.yaml');
  await writeFile(
    file,
    `repositories: { main: { url: ${at.repo} } }\ndefaults: { host: "${at.host}" }\n${more}jobs:\n${jobs}`,
  );
  return file;
}

const daemon = (file: string, env: Record<string, string> = {}, ...args: string[]) =>
  startDaemon(['--config', file], { env }, ...args);

async function running(at: Site, script: string): Promise<string> {
  const volume = await at.volume('v', script);
  const name = at.name('db');
  await at.docker(
    'run',
    '-d',
    '--network',
    'none',
    '--stop-signal',
    'KILL',
    '--name',
    name,
    '-v',
    `${volume}:/data`,
    'toolbox',
    'sleep',
    '600',
  );
  return name;
}

/** A web server that keeps what is posted to it. */
async function webhook(): Promise<{ got: Json[]; port: number }> {
  const got: Json[] = [];
  const http = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    got.push(JSON.parse(body));
    response.end();
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  afterwards(async () => http.close());
  const { port } = http.address() as AddressInfo;
  return { got, port };
}

describe('the daemon', () => {
  it('runs jobs by real cron ticks, chains behind them, tells Prometheus, reads its configuration anew, and ends with 0', async () => {
    const at = await site();
    const db = await running(at, 'echo one >file');
    const tick = `  tick: { backup: { containers: [${db}], stop: true }, schedule: "*/5 * * * * *" }\n`;
    const file = await config(at, `${tick}  check: { verify: {}, after: tick }\n`);
    const { child, log, ended, says } = await daemon(file, {}, '--listen', '127.0.0.1:19187');
    await says(/^tick is done/, 2);
    await says(/^check is done/);
    const starts = log.filter(({ msg }) => msg === 'tick starts');
    expect(starts.every(({ due }) => new Date(due).getUTCSeconds() % 5 === 0)).toBe(true);
    expect(new Set(starts.map(({ due }) => due)).size).toBe(starts.length);
    const metrics = await (await fetch('http://127.0.0.1:19187/metrics')).text();
    expect(metrics).toMatch(/^volbak_job_runs_total\{job="tick",result="ok"\} [2-9]/m);
    expect(metrics).toMatch(/^volbak_job_last_success_timestamp_seconds\{job="check"\} \d+/m);
    expect(metrics).toMatch(
      new RegExp(
        `^volbak_snapshot_timestamp_seconds\\{source="[^"]*/container/${db}",status="complete"\\} \\d+`,
        'm',
      ),
    );
    expect(metrics).toMatch(/^volbak_engine_up\{host="unix:[^"]*"\} 1/m);
    const health = await (await fetch('http://127.0.0.1:19187/healthz')).json();
    expect(health).toMatchObject({ status: 'ok', jobs: { tick: { failures: 0 } } });
    const second = await volbak(['--config', file, 'daemon']);
    expect(second.exit).toBe(78);
    expect(second.stderr).toContain('another daemon runs');

    await writeFile(file, 'jobs: { broken: {} }\n');
    child.kill('SIGHUP');
    await says(/stays as it was: .*broken/);
    await writeFile(
      file,
      `jobs: { other: { verify: { quick: true }, schedule: "* * * * * *" } }\nrepositories: { main: { url: ${at.repo} } }\n`,
    );
    child.kill('SIGHUP');
    await says(/^other is done/);
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ exit: 0 });
    expect(await stateOf(at, db)).toBe('running');
    expect((await at.document('snapshots')).length).toBeGreaterThanOrEqual(2);
  });

  it('SIGTERM in the middle of a backup with --stop: aborted after the grace, the container runs, the next daemon makes up for it', async () => {
    const at = await site();
    const db = await running(at, 'head -c 600000000 /dev/urandom >big');
    const file = await config(
      at,
      // In full, as it is stopped for all of it then, and not only for what changed.
      `  tick: { backup: { containers: [${db}], stop: true, full: true }, schedule: "*/10 * * * * *" }\n`,
      'daemon: { grace: 1s }\n',
    );
    const first = await daemon(file);
    await helperAtWork(at.host, 'read');
    expect(await stateOf(at, db)).toBe('exited');
    first.child.kill('SIGTERM');
    expect(await first.ended).toMatchObject({ exit: 0 });
    expect(first.log.map(({ msg }) => msg)).toContain('tick was stopped; it runs again with the next start');
    expect(await stateOf(at, db)).toBe('running');
    expect(await helpers(at.host)).toBe('');
    const next = await daemon(file);
    await next.says(/^tick is done/);
    expect(next.log.find(({ msg }) => msg === 'tick starts')).toMatchObject({ why: 'interrupted' });
    next.child.kill('SIGTERM');
    await next.ended;
    expect(await stateOf(at, db)).toBe('running');
  });

  it('kill -9 in the middle: its job notices and stops cleanly; the next daemon runs it again, once', async () => {
    const at = await site();
    const db = await running(at, 'head -c 600000000 /dev/urandom >big');
    const file = await config(
      at,
      `  yearly: { backup: { containers: [${db}], stop: true }, after: tick }\n  tick: { backup: { volume: [${at.name('w')}] }, schedule: "* * * * * *" }\n`,
    );
    await at.volume('w', 'echo 1 >file');
    const first = await daemon(file);
    await first.says(/^yearly starts/);
    await helperAtWork(at.host, 'read');
    first.child.kill('SIGKILL');
    await first.ended;
    const next = await daemon(file);
    await next.says(/^yearly is done/);
    const again = next.log.find(({ msg }) => msg === 'yearly starts');
    // One that a tick had asked for meanwhile stands for the one that was interrupted.
    expect(again).toMatchObject({ why: expect.stringMatching(/interrupted|after/), attempt: 1 });
    next.child.kill('SIGTERM');
    await next.ended;
    expect(await stateOf(at, db)).toBe('running');
    expect(await helpers(at.host)).toBe('');
  });

  it('a job does not run twice at once, by hand and by the daemon: by hand it is exit 11, the daemon waits', async () => {
    const at = await site();
    const db = await running(at, 'head -c 600000000 /dev/urandom >big');
    const tick = `  tick: { backup: { containers: [${db}], full: true }, schedule: "* * * * * *" }\n`;
    const file = await config(at, tick);
    const byHand = volbak(['--config', file, 'run', 'tick', '--json']);
    await helperAtWork(at.host, 'read');
    const { child, ended, log, says } = await daemon(file);
    await says(/^tick waits: tick runs already/);
    expect(await byHand).toMatchObject({ exit: 0 });
    await says(/^tick is done/);
    await says(/^tick starts/, log.filter(({ msg }) => msg === 'tick starts').length + 1);
    await helperAtWork(at.host, 'read');
    const second = await volbak(['--config', file, 'run', 'tick', '--json']);
    expect(failure(second)).toMatchObject({ code: 'JOB_BUSY', exit: 11 });
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ exit: 0 });
    expect(log.filter(({ msg }) => / failed/.test(msg))).toEqual([]);
  });

  it('starts without an engine and waits for it: the run counts as no failure', async () => {
    const at = await site();
    const db = await running(at, 'echo one >file');
    const link = path.join(await tempDir(), 'docker.sock');
    const file = await config(
      at,
      `  tick: { backup: { containers: [${db}] }, schedule: "* * * * * *", host: "unix://${link}" }\n`,
    );
    const { child, log, ended, says } = await daemon(file);
    await says(/^tick waits for its engine/);
    const { symlink } = await import('node:fs/promises');
    await symlink(at.host.replace('unix://', ''), link);
    await says(/^engine unix:.* answers$/);
    await says(/^tick is done/);
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ exit: 0 });
    expect(log.filter(({ msg }) => /failed/.test(msg))).toEqual([]);
  });

  it('tells a webhook of a failure, and when the job works again; no secret of the configuration is in its log', async () => {
    const at = await site();
    const { got, port } = await webhook();
    const file = await config(
      at,
      `  tick: { backup: { containers: [${at.name('db')}] }, schedule: "*/3 * * * * *", retry: { times: 0 } }\n`,
      `notifications: { ops: { webhook: { url: "http://127.0.0.1:${port}/hunter2", token: hunter2 } } }\n`,
    );
    const { child, ended, says, log } = await daemon(file);
    await says(/^tick failed/);
    await running(at, 'echo one >file');
    await says(/^tick is done/);
    child.kill('SIGTERM');
    await ended;
    const events = got.map(({ event }) => event);
    expect(events[0]).toBe('failure');
    expect(events.filter((event) => event === 'recovery')).toHaveLength(1);
    expect(got[0]).toMatchObject({ job: 'tick', text: expect.stringContaining(at.name('db')) });
    expect(JSON.stringify(log)).not.toContain('hunter2');
  });

  it('tells of a job that is silent, though it only waits, and of a snapshot that shrank; in Prometheus, too', async () => {
    const at = await site();
    const db = await running(at, 'for i in $(seq 20); do echo $i >$i; done');
    const { got, port } = await webhook();
    const file = await config(
      at,
      `  tick: { backup: { containers: [${db}] }, schedule: "*/2 * * * * *" }\n` +
        `  far: { backup: { volume: [x] }, schedule: "*/2 * * * * *", host: "unix:///nowhere.sock", silence: 3s }\n`,
      `notifications: { ops: { webhook: { url: "http://127.0.0.1:${port}/" }, on: [silence, shrink], title: "{{job}}!" } }\n`,
    );
    const { child, ended, says } = await daemon(file, {}, '--listen', '127.0.0.1:19189');
    await says(/^tick is done/);
    await at.docker('exec', db, 'sh', '-c', 'rm /data/1*');
    await says(/^tick: .*holds \d+ files, less than half of the \d+ before/);
    await says(/^far is silent/);
    const metrics = await (await fetch('http://127.0.0.1:19189/metrics')).text();
    expect(metrics).toMatch(/^volbak_job_silent\{job="far"\} 1$/m);
    expect(metrics).toMatch(/^volbak_job_silent\{job="tick"\} 0$/m);
    expect(metrics).toMatch(new RegExp(`^volbak_snapshot_shrunk\\{source="[^"]*/${db}"\\} 1$`, 'm'));
    child.kill('SIGTERM');
    await ended;
    expect(got.map(({ event, title }) => [event, title]).sort()).toEqual([
      ['shrink', 'tick!'],
      ['silence', 'far!'],
    ]);
  });

  it.runIf(existsSync('/usr/bin/systemd-notify'))(
    'tells the service manager when it is ready, reads anew, and ends',
    async () => {
      const at = await site();
      const file = await config(at, '  idle: { verify: {} }\n');
      const socket = path.join(await tempDir(), 'notify');
      const LISTEN = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True: print(s.recv(4096).decode().strip(), flush=True)`;
      const listener = spawn('python3', ['-c', LISTEN, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
      afterwards(async () => listener.kill('SIGKILL'));
      let heard = '';
      listener.stdout.on('data', (bytes: Buffer) => {
        heard += bytes;
      });
      const until = async (condition: () => boolean) => {
        for (let i = 0; i < 600 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
      };
      await until(() => existsSync(socket));
      const { child, ended } = await daemon(file, { NOTIFY_SOCKET: socket });
      await until(() => heard.includes('READY=1'));
      child.kill('SIGHUP');
      await until(() => heard.split('READY=1').length > 2);
      child.kill('SIGTERM');
      await ended;
      expect(heard.match(/READY|RELOADING|STOPPING/g)).toEqual(['READY', 'RELOADING', 'READY', 'STOPPING']);
    },
  );
});
