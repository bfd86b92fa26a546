import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

/** Paths of all CommonJS modules that a process of its own has loaded with it, and what makes a client. */
function loaded(): { made: string; paths: string[] } {
  const script = `
    import { createRequire } from 'node:module';
    import { loadDockerode } from './src/engine/load-dockerode.ts';
    const Docker = await loadDockerode();
    const made = typeof new Docker({ socketPath: '/x' }).getContainer('a').inspect;
    console.log(JSON.stringify({ made, paths: Object.keys(createRequire(import.meta.url).cache) }));`;
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module-typescript', '-e', script];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}

test('dockerode is loaded without gRPC and ssh2, which take longer to load than a short command', () => {
  const { made, paths } = loaded();
  expect(made).toBe('function');
  const modules = paths.map((path) => path.replace(/^.*\/node_modules\//, ''));
  expect(modules).toContain('dockerode/lib/container.js');
  expect(modules.filter((path) => /^(@grpc|protobufjs|ssh2|cpu-features)\//.test(path))).toEqual([]);
});
