import { describe, expect, inject, test } from 'vitest';
import { makeBucket, s3Environment, s3Url, uniqueBucket } from '../../support/s3.ts';
import { rounds } from '../../support/soak.ts';
import { volbakOk } from '../../support/volbak.ts';
import { type CrashCase, type Laboratory, laboratory, sweep } from './laboratory.ts';

async function onS3(): Promise<{ lab: Laboratory; bucket: string; env: Record<string, string> }> {
  const stores = inject('stores');
  const bucket = uniqueBucket();
  await makeBucket(stores, bucket);
  const env = s3Environment(stores);
  const lab = await laboratory({ repo: s3Url(stores, bucket, 'repo'), env });
  return { lab, bucket, env };
}

describe('with the repository in S3, kill -9 at any moment: the next command succeeds, all snapshots are whole', () => {
  test('backup', { timeout: 3_600_000 }, async () => {
    const { lab } = await onS3();
    const crash: CrashCase = {
      reset: async () => {},
      args: ['backup', lab.container, '--stop'],
      afterwards: async () => {},
      volumes: [],
    };
    await sweep(lab, crash, rounds(2, 25));
  });

  test('copy', { timeout: 3_600_000 }, async () => {
    const { lab, bucket, env } = await onS3();
    let round = 0;
    const place = () => s3Url(inject('stores'), bucket, `copy-${round}`);
    const crash: CrashCase = {
      reset: async () => {
        round++;
        crash.args = ['copy', lab.container, '--to', place()];
      },
      args: [],
      afterwards: async () => {
        const globals = ['-H', lab.at.host, '--repo', place(), '--json'];
        await volbakOk(
          [...globals, 'restore', lab.container, '--to-volume', lab.at.name('copied'), '--verify'],
          { env },
        );
        expect(await lab.differs(lab.at.name('copied'))).toBe('');
        await lab.at.docker('volume', 'rm', lab.at.name('copied'));
      },
      volumes: [],
    };
    await sweep(lab, crash, rounds(2, 25));
  });
});
