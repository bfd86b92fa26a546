import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, onTestFinished, TestRunner } from 'vitest';

type Undo = () => Promise<unknown>;

const atEndOfFile: Undo[] = [];

afterAll(async () => {
  for (const undo of atEndOfFile.splice(0).reverse()) await undo();
});

/** Runs something after the current test; outside of a test (in beforeAll), after the file. */
export function afterwards(undo: Undo): void {
  if (TestRunner.getCurrentTest()) onTestFinished(async () => void (await undo()));
  else atEndOfFile.push(undo);
}

/** A new empty directory, removed after the current test; made in beforeAll: after the file. */
export async function tempDir(label = 'volbak-test-'): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), label));
  afterwards(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));
  return dir;
}

/** A name that nothing else has, fit for containers, volumes and directories. */
export function uniqueName(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`;
}
