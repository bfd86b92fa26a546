import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A program that a test talks with, line by line. */
export interface Talker {
  /** Resolves when it has printed this line. */
  says(line: string): Promise<void>;
  tell(line: string): void;
  /** Ends it and waits until it has. */
  end(): Promise<void>;
}

export function talkTo(command: string, args: string[]): Talker {
  const child: ChildProcess = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let heard = '';
  child.stdout?.on('data', (bytes) => {
    heard += bytes;
  });
  return {
    async says(line) {
      for (let waited = 0; waited < 20_000; waited += 20) {
        const at = heard.indexOf(`${line}\n`);
        if (at >= 0) {
          heard = heard.slice(at + line.length + 1);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error(`${command} did not say '${line}', but: ${heard}`);
    },
    tell: (line) => void child.stdin?.write(`${line}\n`),
    async end() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
