import { spawn } from 'node:child_process';
import path from 'node:path';

const support = import.meta.dirname;

/** Runs one of the scripts here; its errors are what the user has to read, so they are the message. */
export function runScript(
  name: string,
  args: string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(path.join(support, name), args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${name} ${args.join(' ')}: exit ${code}\n${stderr.trim()}`));
    });
  });
}
