import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { derivedImage, inside, requireImages, startService } from '../../support/databases.ts';
import { dockerOk, dockerTry, engines } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { failure, type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';

beforeAll(() => requireImages(engines().a, 'mariadb', 'redis', 'sqlite'));

async function secret(text: string): Promise<string> {
  const file = path.join(await tempDir(), 'secret');
  await writeFile(file, text);
  return file;
}

const last = (drill: { checks: unknown[] }) => drill.checks.at(-1);

describe('recipes/mariadb.yaml with a real MariaDB', () => {
  const ready = {
    image: 'mariadb:10.11',
    mount: '/var/lib/mysql',
    ready: ['mariadb-admin', '-h', '127.0.0.1', 'ping'],
  };
  const sql = (at: Site, container: string, text: string, ...args: string[]) =>
    inside(at, container, 'mariadb', ...args, '-NBe', text);

  it('dumps it, the dump can be loaded; backed up paused it is drilled; the password comes from a file', async () => {
    const at = await site();
    const db = await startService(at, 'db', ready);
    await sql(
      at,
      db,
      `create database shop; use shop; create table o (id int primary key, t text) engine=innodb;
      insert into o select seq, md5(seq) from seq_1_to_2000;
      alter user root@localhost identified by 'hunter2'; create or replace user root@'127.0.0.1' identified by 'hunter2';
      grant all on *.* to root@'127.0.0.1'`,
    );
    const refused = await at.run('handle', db, '--recipe', 'mariadb');
    expect(refused.exit).toBe(50);
    expect(failure(refused).message).toContain('Access denied');
    const { snapshot } = await at.ok(
      'handle',
      db,
      '--recipe',
      'mysql',
      '--secret',
      `password=${await secret('hunter2\n')}`,
    );
    expect(snapshot.file).toBe('mariadb.sql');
    const dump = at.name('dump');
    await at.ok('restore', `${db}:mariadb.sql`, '--to-volume', dump, '--verify');
    const fresh = await startService(at, 'fresh', ready);
    const script = `use shop;\n${await at.inside(dump, "sed -n '/^-- Current Database: `shop`/,/^-- Current Database: `sys`/p' mariadb.sql")}`;
    const text = path.join(await tempDir(), 'dump.sql');
    await writeFile(text, script.replace('use shop;', 'create database if not exists shop;\nuse shop;'));
    await at.docker('cp', text, `${fresh}:/tmp/dump.sql`);
    await sql(at, fresh, 'source /tmp/dump.sql');
    expect(await sql(at, fresh, 'select count(*), min(t = md5(id)) from shop.o')).toBe('2000\t1');

    await at.ok('backup', db, '--pause');
    const drill = await at.ok('drill', db, '--recipe', 'mariadb');
    expect(last(drill)).toMatchObject({
      name: 'check',
      passed: true,
      detail: expect.stringMatching(/^\d+ tables read to the last row$/),
    });
    const count = `mariadb --socket=/tmp/volbak.sock -NBe 'select count(*) from shop.o'`;
    expect(last(await at.ok('drill', db, '--recipe', 'mariadb', '--check', count))).toMatchObject({
      detail: '2000',
    });
  });
});

describe('recipes/redis.yaml with a real Redis', () => {
  it('takes an RDB file that starts again; backed up paused it is drilled', async () => {
    const at = await site();
    const ping = ['sh', '-c', 'redis-cli -a hunter2 ping | grep -q PONG'];
    const args = [
      'redis-server',
      '--appendonly',
      'yes',
      '--requirepass',
      'hunter2',
      '--repl-diskless-sync-delay',
      '0',
    ];
    const db = await startService(at, 'db', { image: 'redis:7', mount: '/data', ready: ping, args });
    const fill = 'for i in $(seq 500); do echo "set key$i value$i"; done | redis-cli -a hunter2 >/dev/null';
    await inside(at, db, 'sh', '-c', fill);
    expect((await at.run('handle', db, '--recipe', 'redis')).exit).toBe(50);
    const { snapshot } = await at.ok(
      'handle',
      db,
      '--recipe',
      'redis',
      '--secret',
      `password=${await secret('hunter2')}`,
    );
    expect(snapshot).toMatchObject({ file: 'dump.rdb' });
    const volume = at.name('restored');
    await at.ok('restore', `${db}:dump.rdb`, '--to-volume', volume, '--verify');
    const fresh = at.name('fresh');
    await at.docker('run', '-d', '--network', 'none', '--name', fresh, '-v', `${volume}:/data`, 'redis:7');
    await eventually('it is ready', () => dockerOk(at.host, 'exec', fresh, 'redis-cli', 'ping'));
    expect(await inside(at, fresh, 'redis-cli', 'dbsize')).toBe('500');
    expect(await inside(at, fresh, 'redis-cli', 'get', 'key77')).toBe('value77');

    await at.ok('backup', db, '--pause');
    expect(last(await at.ok('drill', db, '--recipe', 'redis'))).toMatchObject({
      name: 'check',
      passed: true,
      detail: '500 keys',
    });
  });
});

describe('recipes/sqlite.yaml with a real SQLite', () => {
  /** A container that writes into its database for as long as it runs. */
  async function app(at: Site): Promise<string> {
    const name = at.name('app');
    // One process that writes: what forks all the time cannot always be frozen by --pause.
    const write = `sqlite3 /data/app.db 'pragma journal_mode=wal; create table t (id integer primary key, a text, b text)'
      while :; do echo 'begin; insert into t(a) values (random()); update t set b = a where b is null; commit;'; done |
        sqlite3 -cmd '.timeout 5000' /data/app.db >/dev/null`;
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      name,
      '-v',
      `${at.name('v')}:/data`,
      'sqlite',
      'sh',
      '-c',
      write,
    );
    const rows = async () => {
      const { stdout } = await dockerTry(
        at.host,
        'exec',
        name,
        'sqlite3',
        '/data/app.db',
        'pragma busy_timeout=5000; select count(*) from t',
      );
      return Number(stdout.trim().split('\n').at(-1)) > 20;
    };
    await eventually('there are rows', rows);
    return name;
  }

  it('copies the database at one moment while the application writes; backed up paused it is drilled', async () => {
    const at = await site();
    const name = await app(at);
    expect((await at.run('handle', name, '--recipe', 'sqlite')).exit).toBe(2);
    await at.ok('handle', name, '--recipe', 'sqlite', '--env', 'DATABASE=/data/app.db');
    const volume = at.name('restored');
    await at.ok('restore', `${name}:sqlite.db`, '--to-volume', volume, '--verify');
    const look = `pragma integrity_check; select count(*) > 20, count(*) = sum(a is b) from t`;
    expect(await at.inside(volume, `sqlite3 sqlite.db '${look}'`)).toBe('ok\n1|1');
    const missing = await at.run('handle', name, '--recipe', 'sqlite', '--env', 'DATABASE=/data/none.db');
    expect(failure(missing).message).toContain('there is no database at /data/none.db');

    await at.ok('backup', name, '--pause');
    expect(last(await at.ok('drill', name, '--recipe', 'sqlite'))).toMatchObject({
      passed: true,
      detail: '1 databases are whole',
    });
  });

  it('a drill finds a database that is damaged, though every byte is as it was backed up', async () => {
    const at = await site();
    const volume = await at.volume(
      'v',
      `sqlite3 app.db "create table t as select value from generate_series(1, 20000)"
      printf '%0600d' 7 | dd of=app.db bs=1 seek=20480 conv=notrunc status=none`,
    );
    const name = await at.container('app', '-v', `${volume}:/data`, 'sqlite', 'true');
    await at.ok('backup', name);
    const result = await at.run('drill', name, '--recipe', 'sqlite');
    expect(result.exit).toBe(41);
    expect(last(result.json.at(-1))).toMatchObject({
      name: 'check',
      passed: false,
      detail: expect.stringContaining('/data/app.db is damaged'),
    });
  });
});

describe('recipes/mongodb.yaml with a stand-in for mongodump (Debian has no MongoDB)', () => {
  it("calls it over the container's network, with user and password file, and keeps its archive", async () => {
    const at = await site();
    const dump = `#!/bin/sh
set -e
printf 'args:'; printf ' %s' "$@"; echo
printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 127.0.0.1 27017 | tail -n 1
case "$*" in *--config=*) cat /run/secrets/config ;; esac
touch /data/db/written 2>/dev/null && echo 'it can write' || echo 'read-only'`;
    const serve =
      '#!/bin/sh\nmkdir -p /w; echo from the server >/w/index.html; exec httpd -f -p 127.0.0.1:27017 -h /w';
    const image = await derivedImage(
      at,
      'busybox',
      { '/usr/bin/mongodump': dump, '/usr/bin/mongod': serve },
      ['CMD ["mongod"]'],
    );
    const answers = ['sh', '-c', 'nc -w 1 127.0.0.1 27017 </dev/null'];
    const db = await startService(at, 'db', { image, mount: '/data/db', ready: answers });
    const config = await secret('password: hunter2\n');
    await at.ok(
      'handle',
      db,
      '--recipe',
      'mongodb',
      '--env',
      'MONGO_USER=backup',
      '--env',
      'MONGO_OPLOG=1',
      '--secret',
      `config=${config}`,
    );
    const volume = at.name('restored');
    await at.ok('restore', `${db}:mongodb.archive`, '--to-volume', volume);
    expect(await at.inside(volume, 'cat mongodb.archive')).toBe(
      'args: --archive --host=127.0.0.1 --port=27017 --username=backup --authenticationDatabase=admin ' +
        '--config=/run/secrets/config --oplog\nfrom the server\npassword: hunter2\nread-only',
    );
  });
});
