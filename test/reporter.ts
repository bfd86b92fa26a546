import { writeFileSync } from 'node:fs';
import type { SerializedError } from 'vitest';
import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node';

/**
 * Counts tests and writes `N passed, N failed, N skipped` to the file named by VOLBAK_TEST_SUMMARY, for test/run.sh to print last.
 * A file or suite that failed outside of its tests (it does not load, a hook throws), and an error outside of all of
 * them (a global setup), count as one failed each. A test that never came to its end counts as failed, too.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    const count = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) count.failed += 1;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) count.failed += 1;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        count[state === 'pending' ? 'failed' : state] += 1;
      }
    }
    if (reason !== 'passed' && count.failed === 0) count.failed = 1;
    const file = process.env.VOLBAK_TEST_SUMMARY;
    if (file)
      writeFileSync(file, `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`);
  }
}
