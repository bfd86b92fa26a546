import { describe, expect, it } from 'vitest';
import { requireImages, startService } from '../../support/databases.ts';
import { docker, dockerOk, mountpoint } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { bash, helpers } from '../../support/site.ts';
import { twoEngines } from '../migrate/support.ts';

const DATA = '/var/lib/postgresql/data';
const READY = ['pg_isready', '-q', '-h', '127.0.0.1'];

const sqlAt = (host: string, container: string, text: string) =>
  docker(host, 'exec', container, 'psql', '-U', 'postgres', '-Atqc', text);

/** Numbers that the server acknowledged and that it does not have any more. A last line may be cut off. */
const missing = (file: string) => `create temp table acked (id int);
  copy acked from program 'sed -n "/^[0-9][0-9]*$/p" ${file} | head -n -1';
  select count(*) filter (where l.id is null) || ' of ' || count(*) || ' missing' from acked left join ledger l using (id)`;

describe('a PostgreSQL under write load: nothing that it acknowledged is lost', () => {
  it('backed up paused and as a dump, drilled, and moved to another engine, all while rows come', async () => {
    const { at, other } = await twoEngines();
    await requireImages(at.host, 'postgres');
    await requireImages(other, 'postgres');
    const db = await startService(at, 'db', { image: 'postgres:15', mount: DATA, ready: READY });
    const count = async () => Number(await sqlAt(at.host, db, 'select count(*) from ledger'));
    await sqlAt(at.host, db, 'create table ledger (id serial primary key, what text)');
    // One process that writes one transaction after another, and what was acknowledged, beside the data. One process, since
    // what forks all the time cannot always be frozen.
    const row = `insert into ledger (what) values (repeat($$x$$, 300)) returning id;`;
    const load = `yes '${row}' | psql -U postgres -Atq -v ON_ERROR_STOP=1 >>${DATA}/acked`;
    await docker(at.host, 'exec', '-d', '-u', 'postgres', db, 'sh', '-c', load);
    await eventually('rows come', async () => (await count()) > 500);

    const before = await count();
    const { snapshots } = await at.ok('backup', db, '--recipe', 'postgres');
    expect(snapshots[0]).toMatchObject({ status: 'complete' });
    expect(snapshots[0].downtimeMs).toBeGreaterThan(0);
    expect(await count()).toBeGreaterThan(before);
    await at.ok('handle', db, '--recipe', 'postgres');
    const check = `psql -U postgres -Atq <<'E'\n${missing(`${DATA}/acked`)};\nE\ntest "$(psql -U postgres -Atc 'select count(*) from ledger')" -ge ${before}`;
    const drill = await at.ok('drill', db, '--recipe', 'postgres', '--check', check);
    expect(drill.passed).toBe(true);
    expect(drill.checks.at(-1).detail).toMatch(/^0 of \d{3,} missing/);

    const atDrill = await count();
    const args = ['--with-container', '--keep-source-stopped', '--recipe', 'postgres'];
    const moved = await at.ok('migrate', db, '--to-host', other, ...args);
    expect(moved).toMatchObject({ stopped: [db], container: { name: db, started: true } });
    expect(moved.volumes[0].liveBytes).toBeGreaterThan(moved.volumes[0].secondBytes);
    await eventually('it is ready there', () => dockerOk(other, 'exec', db, ...READY), 60);
    // The list as the source has it to the very last line that was written before the stop.
    const acked = await bash('cat acked', { cwd: await mountpoint(at.host, `${db}-data`) });
    const numbers = acked.split('\n').filter((line) => /^\d+$/.test(line));
    expect(numbers.length).toBeGreaterThan(atDrill);
    expect(await sqlAt(other, db, missing(`${DATA}/acked`))).toMatch(/^0 of \d{3,} missing$/);
    const last = numbers.at(-2);
    expect(await sqlAt(other, db, `select count(*) from ledger where id = ${last}`)).toBe('1');
    expect(await docker(at.host, 'inspect', '-f', '{{.State.Running}}', db)).toBe('false');
    expect(await helpers(at.host)).toBe('');
    expect(await helpers(other)).toBe('');
  }, 600_000);
});
