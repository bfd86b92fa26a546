import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import pLimit from 'p-limit';
import { type Measured, median, run } from './measure.ts';

/** Where run.sh started the servers. */
export interface StoreServers {
  endpoint: string;
  sshd: string;
  sshPort: string;
}

type Case = 'local' | 's3' | 'sdk' | 'sftp' | 'sftpPut' | 'restoreLocal' | 'restoreS3' | 'restoreSftp';
type Volbak = (repository: string, ...args: string[]) => Promise<Measured>;

/** Puts the segments of a repository with the SDK, four at a time: what the line to the store gives. */
async function putWithSdk(
  client: S3Client,
  bucket: string,
  prefix: string,
  segments: string[],
): Promise<number> {
  const limit = pLimit(4);
  const begun = performance.now();
  const put = (file: string) =>
    client.send(
      new PutObjectCommand({
        Bucket: bucket,
        Key: `${prefix}/${path.basename(file)}`,
        Body: readFileSync(file),
      }),
    );
  await Promise.all(segments.map((file) => limit(() => put(file))));
  return (performance.now() - begun) / 1000;
}

function segmentsOf(repository: string): string[] {
  const root = path.join(repository, 'segments');
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.zst'))
    .map((name) => path.join(root, name));
}

/** First backup and restore of a container against S3 and SFTP, beside a local directory and the bare clients. */
export async function measureStores(
  servers: StoreServers,
  container: string,
  work: string,
  rounds: number,
  volbak: Volbak,
): Promise<string[]> {
  const client = new S3Client({ endpoint: servers.endpoint, region: 'us-east-1', forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: 'bench' }));
  const taken = Object.fromEntries(
    (['local', 's3', 'sdk', 'sftp', 'sftpPut', 'restoreLocal', 'restoreS3', 'restoreSftp'] as Case[]).map(
      (name) => [name, [] as number[]],
    ),
  ) as Record<Case, number[]>;
  let peak = 0;
  const timed = async (name: Case, repository: string, ...args: string[]) => {
    execFileSync('sync');
    const measured = await volbak(repository, ...args);
    taken[name].push(measured.seconds);
    peak = Math.max(peak, measured.peakBytes);
  };
  for (let round = 0; round < rounds; round++) {
    const local = path.join(work, 'stores-local');
    const sftpDirectory = path.join(work, 'stores-sftp');
    for (const directory of [local, sftpDirectory]) rmSync(directory, { recursive: true, force: true });
    const s3 = `s3://bench/round-${round}?endpoint=${servers.endpoint}`;
    const sftp = `sftp://root@127.0.0.1:${servers.sshPort}${sftpDirectory}?key=${servers.sshd}/id&known-hosts=${servers.sshd}/known_hosts`;
    await timed('local', local, 'backup', container);
    await timed('s3', s3, 'backup', container);
    await timed('sftp', sftp, 'backup', container);
    const segments = segmentsOf(local);
    taken.sdk.push(await putWithSdk(client, 'bench', `sdk-${round}`, segments));
    taken.sftpPut.push(await putWithSftp(servers, work, segments));
    const restores: [Case, string][] = [
      ['restoreLocal', local],
      ['restoreS3', s3],
      ['restoreSftp', sftp],
    ];
    for (const [name, repository] of restores) {
      await timed(name, repository, 'restore', container, '--to-volume', 'bench-restored');
      execFileSync('docker', ['-H', process.env.DOCKER_HOST ?? '', 'volume', 'rm', 'bench-restored'], {
        stdio: 'ignore',
      });
    }
    process.stderr.write(
      `stores, round ${round + 1} of ${rounds}: ${Object.entries(taken)
        .map(([name, list]) => `${name} ${list.at(-1)?.toFixed(2)} s`)
        .join(', ')}\n`,
    );
  }
  return report(taken, peak);
}

/** OpenSSH's own client, one file of the size of all segments. */
async function putWithSftp(servers: StoreServers, work: string, segments: string[]): Promise<number> {
  const [file, batch] = [path.join(work, 'all-segments'), path.join(work, 'sftp-batch')];
  mkdirSync(path.join(work, 'sftp-put'), { recursive: true });
  execFileSync('sh', ['-c', 'out=$1; shift; cat "$@" >"$out"', 'sh', file, ...segments]);
  writeFileSync(batch, `put ${file} ${work}/sftp-put/all\n`);
  const options = [
    '-q',
    '-P',
    servers.sshPort,
    '-i',
    `${servers.sshd}/id`,
    '-o',
    `UserKnownHostsFile=${servers.sshd}/known_hosts`,
  ];
  const { seconds } = await run('sftp', [...options, '-b', batch, 'root@127.0.0.1']);
  return seconds;
}

function report(taken: Record<Case, number[]>, peakBytes: number): string[] {
  const at = (name: Case) => median(taken[name]);
  const row = (what: string, name: Case, against?: number) =>
    `| ${what} | ${at(name).toFixed(2)} s | ${against === undefined ? '' : (at(name) / against).toFixed(2)} |`;
  const limit = (met: boolean, text: string) => `- ${met ? 'met' : 'MISSED'}: ${text}`;
  const upload = at('s3') / Math.max(at('local'), at('sdk'));
  return [
    '## Stores: first backup and restore of the same volume',
    '',
    '| | median | times |',
    '|---|---|---|',
    row('backup to a local directory', 'local'),
    row('the same bytes put with the SDK, four at a time', 'sdk'),
    row('backup to S3 (Ceph); against the longer of both', 's3', Math.max(at('local'), at('sdk'))),
    row('the same bytes by `sftp put`, one file', 'sftpPut'),
    row('backup to SFTP (OpenSSH); against the local backup', 'sftp', at('local')),
    row('restore from a local directory', 'restoreLocal'),
    row('restore from S3', 'restoreS3', at('restoreLocal')),
    row('restore from SFTP', 'restoreSftp', at('restoreLocal')),
    '',
    limit(
      upload <= 1.15,
      `backup to S3 ${upload.toFixed(2)} times the longer of local backup and SDK, limit 1.15`,
    ),
    limit(
      at('sftp') <= Math.max(at('sftpPut'), at('local')) * 1.15,
      `backup to SFTP ${at('sftp').toFixed(2)} s, \`sftp put\` ${at('sftpPut').toFixed(2)} s, local backup ${at('local').toFixed(2)} s`,
    ),
    limit(
      peakBytes < 400e6,
      `peak memory of all volbak processes ${(peakBytes / 1e6).toFixed(0)} MB, limit 400 MB`,
    ),
    '',
  ];
}
