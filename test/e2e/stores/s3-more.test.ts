import {
  CreateBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketPolicyCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { describe, expect, inject, it } from 'vitest';
import { RetryStore } from '../../../src/store/retry.ts';
import { S3Store } from '../../../src/store/s3.ts';
import { parseS3Url } from '../../../src/store/s3-options.ts';
import { runScript } from '../../support/run-script.ts';
import { makeBucket, s3Client, s3Environment, s3Store, s3Url, uniqueBucket } from '../../support/s3.ts';
import { failure, type Site, site } from '../../support/site.ts';
import { afterwards, tempDir, uniqueName } from '../../support/temp.ts';
import { type Json, volbak } from '../../support/volbak.ts';

const code = (wanted: string) => expect.objectContaining({ code: wanted });
const servers = () => inject('stores');

async function bucket(client?: S3Client): Promise<string> {
  const name = uniqueBucket();
  if (client) await client.send(new CreateBucketCommand({ Bucket: name }));
  else await makeBucket(servers(), name);
  return name;
}

/** Credentials of this process for as long as a test runs: the SDK's chain finds them as a user gives them. */
function withCredentials(accessKey: string | undefined, secretKey: string | undefined): void {
  const before = { ...process.env };
  afterwards(async () => {
    process.env = before;
  });
  const set = (name: string, value: string | undefined) => {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  };
  set('AWS_ACCESS_KEY_ID', accessKey);
  set('AWS_SECRET_ACCESS_KEY', secretKey);
  process.env.AWS_EC2_METADATA_DISABLED = 'true';
  process.env.AWS_SHARED_CREDENTIALS_FILE = '/nonexistent';
  process.env.AWS_CONFIG_FILE = '/nonexistent';
}

function open(url: string): S3Store {
  const store = new S3Store(parseS3Url(new URL(url)));
  afterwards(() => store.close());
  return store;
}

/** What doctor found, of its one document. */
const checksOf = ({ stdout }: { stdout: string }): Json[] => JSON.parse(stdout);

async function s3Site(name: string, env: Record<string, string>, more = ''): Promise<Site> {
  return site({ repo: `${s3Url(servers(), name, 'repo')}${more}`, env });
}

/** Another user of the test's server, with a key of its own. */
async function user(): Promise<{ id: string; key: string; secret: string; client: S3Client }> {
  const id = uniqueName('user');
  const [key, secret] = [`${id}-key`, `${id}-secret`];
  const { dir } = servers().s3;
  const keys = [`--access-key=${key}`, `--secret-key=${secret}`];
  await runScript('ceph.sh', [
    'admin',
    dir,
    'user',
    'create',
    `--uid=${id}`,
    `--display-name=${id}`,
    ...keys,
  ]);
  const client = new S3Client({
    endpoint: servers().s3.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: key, secretAccessKey: secret },
  });
  afterwards(async () => client.destroy());
  return { id, key, secret, client };
}

describe('access to S3', () => {
  it('with a wrong secret or an unknown key is STORE_DENIED, and neither is told', async () => {
    const name = await bucket();
    for (const [key, secret] of [
      ['volbak', 'not-the-hunter2'],
      ['nobody-hunter2', 'volbaksecret'],
    ] as const) {
      withCredentials(key, secret);
      const store = open(s3Url(servers(), name, 'p'));
      const all = [
        store.put('key', Buffer.from('x')),
        store.put('key', Buffer.from('x'), { ifAbsent: true }),
        store.get('key'),
        store.stat('key'),
        store.delete('key'),
        store.list('')[Symbol.asyncIterator]().next(),
      ];
      for (const result of await Promise.allSettled(all)) {
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'STORE_DENIED' } });
        const { message, hint } = (result as PromiseRejectedResult).reason;
        expect(`${message} ${hint} ${store.label}`).not.toContain('hunter2');
        expect(message).toContain(store.label);
      }
    }
  });

  it('without credentials says where to give them', async () => {
    withCredentials(undefined, undefined);
    const error = await open(s3Url(servers(), await bucket(), 'p'))
      .get('key')
      .catch((e) => e);
    expect(error).toMatchObject({ code: 'STORE_DENIED', hint: expect.stringContaining('AWS_ACCESS_KEY_ID') });
  });

  it('to a bucket that is not there is an error at once, also of a listing', async () => {
    Object.assign(process.env, s3Environment(servers()));
    const store = new RetryStore(open(s3Url(servers(), uniqueBucket(), 'p')), { limitMs: 60_000 });
    const missing = expect.objectContaining({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('no bucket'),
    });
    const started = performance.now();
    await expect(store.put('key', Buffer.from('x'))).rejects.toThrow(missing);
    await expect(store.get('key')).rejects.toThrow(missing);
    await expect(store.list('')[Symbol.asyncIterator]().next()).rejects.toThrow(missing);
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it('ends a command with exit 30 or 31, and with a message that names the place', async () => {
    const name = await bucket();
    const wrong = await s3Site(name, { AWS_ACCESS_KEY_ID: 'volbak', AWS_SECRET_ACCESS_KEY: 'hunter2' });
    const denied = await wrong.run('snapshots');
    expect(denied.exit).toBe(30);
    expect(failure(denied)).toMatchObject({
      code: 'STORE_DENIED',
      message: expect.stringContaining(`s3://${name}/repo`),
      hint: expect.stringContaining('keys'),
    });
    expect(denied.stdout + denied.stderr).not.toContain('hunter2');
    const absent = await (await s3Site(uniqueBucket(), s3Environment(servers()))).run('init');
    expect(absent.exit).toBe(31);
    expect(failure(absent).message).toContain('there is no bucket');
    const nobody = await volbak(
      [
        '--json',
        '--retry-for',
        '1s',
        '--repo',
        's3://bucket-of-nobody?endpoint=http://127.0.0.1:1',
        'snapshots',
      ],
      {
        env: s3Environment(servers()),
      },
    );
    expect(nobody.exit).toBe(31);
    expect(failure(nobody).message).toContain('nothing listens at http://127.0.0.1:1');
  });
});

describe('a quota on the S3 user', () => {
  it('is STORE_FULL, for objects of 1 MiB and of 40 MiB, and is not tried again and again', async () => {
    const { id, key, secret, client } = await user();
    const { dir } = servers().s3;
    const scope = ['--quota-scope=user', `--uid=${id}`];
    await runScript('ceph.sh', ['admin', dir, 'quota', 'set', ...scope, '--max-size=5M']);
    await runScript('ceph.sh', ['admin', dir, 'quota', 'enable', ...scope]);
    const name = await bucket(client);
    withCredentials(key, secret);
    const inner = open(s3Url(servers(), name, 'p'));
    const waits: string[] = [];
    const store = new RetryStore(inner, { limitMs: 15_000, onRetry: (message) => waits.push(message) });
    for (let i = 0; i < 3; i++)
      await expect(store.put('large', Buffer.alloc(40 * 1024 * 1024))).rejects.toThrow(code('STORE_FULL'));
    const fill = async () => {
      for (let i = 0; i < 20; i++) await store.put(`part/${i}`, Buffer.alloc(1024 * 1024, i));
    };
    await expect(fill()).rejects.toThrow(code('STORE_FULL'));
    // What was there stays, and nothing of what was refused.
    expect((await store.get('part/0')).length).toBe(1024 * 1024);
    for await (const { key } of store.list('')) expect(key).toMatch(/^part\/[0-5]$/);
    await store.delete('part/0');
    expect(waits).toEqual([]);

    const at = await s3Site(name, { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret });
    const volume = await at.volume('big', 'head -c 30000000 /dev/urandom >random');
    const full = await at.run('backup', '--volume', volume);
    expect(full.exit).toBe(32);
    expect(failure(full)).toMatchObject({ code: 'STORE_FULL', message: expect.stringContaining('quota') });
    expect(await at.document('snapshots')).toEqual([]);
  });
});

describe('objects in S3', () => {
  it('are deleted in batches, also more than a thousand together', async () => {
    const name = await bucket();
    const store = await s3Store(servers(), name, 'p');
    afterwards(() => store.close());
    const keys = Array.from({ length: 1100 }, (_, i) => `many/${i}`);
    for (let at = 0; at < keys.length; at += 50)
      await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, Buffer.from(key))));
    await store.put('kept', Buffer.from('x'));
    const started = performance.now();
    await Promise.all([...keys, 'many/absent', 'kep'].map((key) => store.delete(key)));
    expect(performance.now() - started).toBeLessThan(20_000);
    const left: string[] = [];
    for await (const { key } of store.list('')) left.push(key);
    expect(left).toEqual(['kept']);
  });

  it('have the storage class asked for, where they hold data', async () => {
    const name = await bucket();
    Object.assign(process.env, s3Environment(servers()));
    const store = open(`${s3Url(servers(), name, 'p')}&storage-class=STANDARD`);
    await store.put('segments/aa/x', Buffer.from('x'));
    expect((await store.get('segments/aa/x')).toString()).toBe('x');
    // Ceph knows only the classes of its zone: its refusal shows that the option reached it.
    const cold = open(`${s3Url(servers(), name, 'p')}&storage-class=GLACIER_IR`);
    await cold.put('volbak.json', Buffer.from('{}'));
    const answer = await cold.put('segments/aa/y', Buffer.from('y')).then(
      () => 'taken',
      (error) => error.cause?.name,
    );
    if (answer === 'taken') {
      const client = s3Client(servers());
      const { StorageClass } = await client.send(
        new HeadObjectCommand({ Bucket: name, Key: 'p/segments/aa/y' }),
      );
      client.destroy();
      expect(StorageClass).toBe('GLACIER_IR');
    } else expect(answer).toMatch(/StorageClass|InvalidArgument/);
  });

  it('are encrypted by the server where that was asked for, or it says no: Ceph refuses it without TLS', async () => {
    Object.assign(process.env, s3Environment(servers()));
    const name = await bucket();
    const store = open(`${s3Url(servers(), name, 'p')}&sse=AES256`);
    const error = await store.put('key', Buffer.from('x')).catch((e) => e);
    if (!error) {
      const client = s3Client(servers());
      const head = await client.send(new HeadObjectCommand({ Bucket: name, Key: 'p/key' }));
      client.destroy();
      expect(head.ServerSideEncryption).toBe('AES256');
    } else expect(error).toMatchObject({ name: 'VolbakError', retryable: false });
  });

  it('come with checksums where those are asked for', async () => {
    Object.assign(process.env, s3Environment(servers()));
    const name = await bucket();
    const store = open(`${s3Url(servers(), name, 'p')}&checksum=supported`);
    await store.put('key', Buffer.from('content'));
    expect((await store.get('key')).toString()).toBe('content');
    await Promise.all([store.delete('key'), store.delete('other')]);
  });

  it('do not see those of another prefix in the bucket', async () => {
    const name = await bucket();
    const [one, two] = [await s3Store(servers(), name, 'a'), await s3Store(servers(), name, 'ab')];
    afterwards(() => Promise.all([one.close(), two.close()]));
    await one.put('key', Buffer.from('one'));
    await two.put('key', Buffer.from('two'));
    const seen: string[] = [];
    for await (const { key } of one.list('')) seen.push(key);
    expect(seen).toEqual(['key']);
    expect((await one.get('key')).toString()).toBe('one');
  });
});

describe('append-only credentials', () => {
  it('are enough for backups: a policy forbids deletes', async () => {
    const owner = s3Client(servers());
    const name = await bucket(owner);
    const { id, key, secret, client } = await user();
    const policy = {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: [`arn:aws:iam:::user/${id}`] },
          Action: ['s3:PutObject', 's3:GetObject', 's3:ListBucket'],
          Resource: [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`],
        },
      ],
    };
    await owner.send(new PutBucketPolicyCommand({ Bucket: name, Policy: JSON.stringify(policy) }));
    const at = await s3Site(name, { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret });
    const volume = await at.volume('data', 'seq 1000 >numbers; head -c 100000 /dev/urandom >random');
    const first = (await at.ok('backup', '--volume', volume)).snapshots[0];
    await at.inside(volume, 'echo more >>numbers');
    const second = (await at.ok('backup', '--volume', volume)).snapshots[0];
    expect(second.volumes[0].newBytes).toBeLessThan(100_000);
    expect((await at.ok('verify')).errors).toEqual([]);
    expect((await at.document('snapshots')).map((s: Json) => s.id).sort()).toEqual(
      [first.id, second.id].sort(),
    );
    await at.ok('restore', first.id, '--to-volume', at.name('back'), '--verify');

    const doctor = await at.run('doctor');
    expect(doctor.exit).toBe(0);
    const checks = Object.fromEntries(checksOf(doctor).map((check: Json) => [check.name, check]));
    expect(checks['store delete']).toMatchObject({
      state: 'warning',
      hint: expect.stringContaining('Forget'),
    });
    expect(checks['store put'].state).toBe('ok');
    client.destroy();
    const listed = await owner.send(new ListObjectsV2Command({ Bucket: name, Prefix: 'repo/probe-' }));
    expect(listed.KeyCount).toBeGreaterThan(0);
    owner.destroy();
  });
});

describe('doctor on S3', () => {
  it('finds all that is needed, makes no repository and leaves nothing', async () => {
    const name = await bucket();
    const at = await s3Site(name, s3Environment(servers()));
    const result = await at.run('doctor');
    const checks = checksOf(result);
    expect(
      checks.filter(({ name }) => name.startsWith('store ')).map(({ name, state }) => [name, state]),
    ).toEqual(
      ['put', 'range', 'list', 'clock', 'replace', 'create', 'delete'].map((what) => [`store ${what}`, 'ok']),
    );
    expect(checks.find(({ name }) => name === 'repository')).toMatchObject({ state: 'warning' });
    expect(result.exit).toBe(0);
    const client = s3Client(servers());
    const { KeyCount } = await client.send(new ListObjectsV2Command({ Bucket: name }));
    client.destroy();
    expect(KeyCount).toBe(0);
    await at.ok('init');
    expect(checksOf(await at.run('doctor')).find((c: Json) => c.name === 'repository').state).toBe('ok');
  });

  it('says what is wrong with the keys, and ends with their exit code', async () => {
    const at = await s3Site(await bucket(), { AWS_ACCESS_KEY_ID: 'volbak', AWS_SECRET_ACCESS_KEY: 'wrong' });
    const result = await at.run('doctor');
    expect(result.exit).toBe(30);
    expect(checksOf(result).find((c: Json) => c.name === 'repository').state).toBe('failed');
  });

  it('does not take a place that holds other things for one that is empty', async () => {
    const at = await site({ repo: await tempDir() });
    await volbak(['--repo', at.repo, 'snapshots']);
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${at.repo}/letters.txt`, 'private');
    const result = await at.run('doctor');
    expect(result.exit).toBe(10);
  });
});
