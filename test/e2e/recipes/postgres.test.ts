import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { inside, requireImages, startService } from '../../support/databases.ts';
import { docker } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { failure, helpers, type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';

const IMAGE = 'postgres:15';
let at: Site;
let db: string;

const sql = (container: string, text: string) =>
  inside(at, container, 'psql', '-U', 'postgres', '-Atqc', text);
const ready = {
  image: IMAGE,
  mount: '/var/lib/postgresql/data',
  ready: ['pg_isready', '-q', '-h', '127.0.0.1'],
};

beforeAll(async () => {
  at = await site();
  await requireImages(at.host, 'postgres');
  db = await startService(at, 'db', ready);
  await sql(
    db,
    `create table ledger (id serial primary key, at timestamptz default clock_timestamp());
    insert into ledger select from generate_series(1, 5000); create role shop login password 'hunter2'`,
  );
});

/** Writes rows, one transaction each, for as long as `work` takes. */
async function underLoad<T>(work: () => Promise<T>): Promise<T> {
  await sql(db, 'create table load ()');
  // One process, not one a row: what forks all the time cannot always be frozen by --pause.
  const statements = 'select from load; insert into ledger default values;';
  const write = `yes '${statements}' | psql -U postgres -q -v ON_ERROR_STOP=1 >/dev/null`;
  await docker(at.host, 'exec', '-d', db, 'sh', '-c', write);
  try {
    const rows = Number(await sql(db, 'select count(*) from ledger'));
    await eventually(
      'rows come',
      async () => Number(await sql(db, 'select count(*) from ledger')) > rows + 5,
    );
    return await work();
  } finally {
    await sql(db, 'drop table load');
  }
}

describe('recipes/postgres.yaml with a real PostgreSQL', () => {
  it('dumps it under write load; the dump, loaded into a new server, has every row that was acknowledged before', async () => {
    const [before, result] = await underLoad(async () => {
      const rows = Number(await sql(db, 'select count(*) from ledger'));
      return [rows, await at.ok('handle', db, '--recipe', 'postgres')] as const;
    });
    expect(result.snapshot).toMatchObject({
      source: `host-a/container/${db}:postgres.sql`,
      status: 'complete',
    });
    const dump = at.name('dump');
    await at.ok('restore', `${db}:postgres.sql`, '--to-volume', dump, '--verify');
    const fresh = await startService(at, 'fresh', ready);
    const text = path.join(await tempDir(), 'dump.sql');
    await writeFile(text, await at.inside(dump, 'cat postgres.sql'));
    await at.docker('cp', text, `${fresh}:/tmp/dump.sql`);
    await inside(at, fresh, 'psql', '-U', 'postgres', '-q', '-f', '/tmp/dump.sql');
    const after = Number(await sql(db, 'select count(*) from ledger'));
    const rows = Number(await sql(fresh, 'select count(*) from ledger'));
    expect(rows).toBeGreaterThanOrEqual(before);
    expect(rows).toBeLessThanOrEqual(after);
    expect(await sql(fresh, `select rolname from pg_roles where rolname = 'shop'`)).toBe('shop');
    await at.docker('rm', '-f', '-v', fresh);
  });

  it('backed up with --pause under write load it is drilled: healthy, every row read, all acknowledged rows there', async () => {
    const before = await underLoad(async () => {
      const rows = Number(await sql(db, 'select count(*) from ledger'));
      await at.ok('backup', db, '--pause');
      return rows;
    });
    const rows = `rows=$(psql -U postgres -Atc 'select count(*) from ledger'); echo $rows; test $rows -ge ${before}`;
    const counted = await at.ok('drill', db, '--recipe', 'postgres', '--check', rows);
    expect(counted.passed).toBe(true);
    expect(Number(counted.checks.at(-1).detail)).toBeGreaterThanOrEqual(before);
    const drill = await at.ok('drill', db, '--recipe', 'postgres');
    expect(drill.checks.at(-1)).toMatchObject({
      name: 'check',
      passed: true,
      detail: '1 databases read to the last row',
    });
    expect(await helpers(at.host)).toBe('');
  });

  it('a drill finds a table that PostgreSQL cannot read any more, though every byte is as it was backed up', async () => {
    const broken = await startService(at, 'broken', ready);
    await sql(broken, 'create table t as select generate_series(1, 5000) id; checkpoint');
    const file = await sql(broken, `select pg_relation_filepath('t')`);
    await at.docker('stop', broken);
    await at.inside(
      `${broken}-data`,
      `printf '\\377%.0s' {1..64} | dd of='${file}' bs=1 seek=8192 conv=notrunc status=none`,
    );
    await at.ok('backup', broken);
    const result = await at.run('drill', broken, '--recipe', 'postgres');
    expect(result.exit).toBe(41);
    const { checks } = result.json.at(-1);
    expect(checks.find((c: { passed: boolean }) => !c.passed)).toMatchObject({ name: 'check' });
    await at.docker('rm', '-f', '-v', broken);
  });

  it('takes one database, and a password from a file where the server asks for one', async () => {
    await inside(
      at,
      db,
      'sh',
      '-c',
      `echo 'host all shop 127.0.0.1/32 scram-sha-256' >/tmp/hba; cat "$PGDATA/pg_hba.conf" >>/tmp/hba; cat /tmp/hba >"$PGDATA/pg_hba.conf"`,
    );
    await sql(db, 'select pg_reload_conf()');
    await sql(db, 'create database shop owner shop');
    await inside(
      at,
      db,
      'psql',
      '-U',
      'postgres',
      '-q',
      'shop',
      '-c',
      'create table goods as select 42 as price; alter table goods owner to shop',
    );
    const args = [
      'handle',
      db,
      '--recipe',
      'postgres',
      '--env',
      'PGUSER=shop',
      '--env',
      'PGDATABASE=shop',
      '--capture',
      'shop.sql',
    ];
    const refused = await at.run(...args);
    expect(refused.exit).toBe(50);
    expect(failure(refused).message).toContain('no password supplied');
    const password = path.join(await tempDir(), 'password');
    await writeFile(password, 'hunter2\n');
    await at.ok(...args, '--secret', `password=${password}`);
    await at.ok('restore', `${db}:shop.sql`, '--to-volume', at.name('shop'));
    expect(await at.inside(at.name('shop'), 'grep -A1 "COPY public.goods" shop.sql')).toMatch(/\n42$/);
    expect(JSON.stringify(await at.document('show', `${db}:shop.sql`))).not.toContain('hunter2');
  });

  it("PostgreSQL's own physical backup, without pausing anything, as the comments of the recipe say, starts and is whole", async () => {
    const base = [
      'pg_basebackup',
      '-h',
      '127.0.0.1',
      '-U',
      'postgres',
      '-D',
      '-',
      '-Ft',
      '-X',
      'fetch',
      '--checkpoint=fast',
    ];
    await at.ok('handle', db, '--network', '--capture', 'base.tar', '--', IMAGE, ...base);
    const [dir, volume] = [await tempDir(), at.name('base')];
    await at.ok('restore', `${db}:base.tar`, '--to-volume', at.name('tar'));
    await at.docker('volume', 'create', volume);
    const tar = path.join(dir, 'base.tar');
    await at.inside(at.name('tar'), `cp base.tar '${tar}'`);
    await at.ok('import', tar, '--to-volume', volume);
    const name = at.name('physical');
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      name,
      '-v',
      `${volume}:/var/lib/postgresql/data`,
      IMAGE,
    );
    await eventually('it is ready', async () => (await sql(name, 'select 1').catch(() => '')) === '1', 60);
    expect(Number(await sql(name, 'select count(*) from ledger'))).toBeGreaterThanOrEqual(5000);
  });
});
