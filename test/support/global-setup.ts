import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import type { Engines } from './engine.ts';
import { runScript } from './run-script.ts';

const support = import.meta.dirname;

/** Two private engines in a directory, with images. */
async function startPair(dir: string): Promise<Engines> {
  const [a, b] = (await runScript('engines.sh', ['start', dir])).trim().split('\n');
  if (!a || !b) throw new Error('engines.sh did not print two URLs');
  const cache = process.env.VOLBAK_TEST_IMAGE_CACHE || path.resolve(support, '../../.cache/images');
  await mkdir(cache, { recursive: true });
  const env = { ...process.env, VOLBAK_TEST_IMAGE_CACHE: cache };
  for (const host of [a, b]) await runScript('images.sh', [host, 'busybox', 'toolbox'], env);
  return { a, b };
}

/** Two private engines for each test file that may run at the same time. Answers with what ends them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const pairs = Math.max(1, Number(project.config.maxWorkers) || 1);
  const dirs: string[] = [];
  const teardown = async () => {
    try {
      for (const dir of dirs) {
        await runScript('engines.sh', ['stop', dir]);
        await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
      }
    } catch (error) {
      process.exitCode = 1; // vitest prints what a teardown throws, and exits with 0
      throw error;
    }
  };
  try {
    const engines: Engines[] = [];
    while (engines.length < pairs) {
      // test/run.sh names a directory of its own, and clears away there whatever an interrupted run leaves.
      const dir = await mkdtemp(path.join(process.env.VOLBAK_TEST_DIR || tmpdir(), 'volbak-e2e-'));
      dirs.push(dir);
      engines.push(await startPair(dir));
    }
    project.provide('engines', engines);
  } catch (error) {
    await teardown().catch((second) => console.error(String(second)));
    throw new Error(
      'The end-to-end tests need two private Docker Engines, and these could not be started. ' +
        'Run them as root on a Linux machine where Debian packages can be installed (or docker.io is), ' +
        `or only the others: npm run test:unit.\n${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  return teardown;
}
