import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { PREPARE_SCRIPT, SWAP_SCRIPT, stageName } from '../../src/jobs/write/stage-script.ts';
import { rounds } from '../support/soak.ts';
import { tempDir } from '../support/temp.ts';

// The script of a helper, run here by the same shell, and killed before and after each program that it calls.

const STAGE = stageName('0123456789abcdef');
const TOOLS = ['mkdir', 'mv', 'rm', 'touch', 'cp', 'sync', 'chmod', 'chown', 'tar'];
let shims: string;

/** Programs that count their calls, and at the chosen one kill the shell that called: before the deed or after it. */
beforeAll(async () => {
  shims = await tempDir();
  for (const tool of TOOLS) {
    const real = spawnSync('sh', ['-c', `command -v ${tool}`])
      .stdout.toString()
      .trim();
    const script = `#!/bin/sh
n=$(($(cat "$COUNTER") + 1)); echo $n >"$COUNTER"
[ "$n" != "$KILL_BEFORE" ] || { kill -9 -$GROUP; sleep 5; }
${real} "$@"; status=$?
[ "$n" != "$KILL_AFTER" ] || { kill -9 -$GROUP; sleep 5; }
exit $status
`;
    writeFileSync(path.join(shims, tool), script);
    chmodSync(path.join(shims, tool), 0o755);
  }
});

interface Outcome {
  exit: number | null;
  stdout: string;
  stderr: string;
  /** Calls of programs. */
  calls: number;
}

/** Runs a script in a process group of its own, which is killed at a call of a program. */
async function run(
  script: string,
  args: string[],
  kill: { before?: number; after?: number } = {},
): Promise<Outcome> {
  const counter = path.join(await tempDir(), 'counter');
  writeFileSync(counter, '0');
  const tmp = path.join(path.dirname(counter), 'tmp');
  mkdirSync(tmp);
  const own = script.replaceAll('/tmp/', `${tmp}/`);
  const env = {
    PATH: `${shims}:${process.env.PATH}`,
    LC_ALL: 'C',
    COUNTER: counter,
    KILL_BEFORE: String(kill.before ?? 0),
    KILL_AFTER: String(kill.after ?? 0),
  };
  // setsid: the shell leads a group, whose number is its own.
  const wrapped = 'GROUP=$$ exec sh -c "$0" volbak "$@"';
  const result = spawnSync('setsid', ['-w', 'sh', '-c', `export GROUP=$$; ${wrapped}`, own, ...args], {
    env,
  });
  const { status, stdout, stderr } = result;
  return {
    exit: status,
    stdout: stdout.toString('latin1'),
    stderr: stderr.toString(),
    calls: Number(readFileSync(counter, 'utf8')),
  };
}

const bash = async (script: string, cwd: string) =>
  (await promisify(execFile)('bash', ['-euc', script], { cwd })).stdout;

const OLD = `mkdir -p dir/sub empty; echo old >dir/sub/file; echo old >same; echo old >-rf; mkdir dir-here file-here-d; echo x >.hidden
  ln same hard; ln -s nowhere link; printf x >$'new\\nline'; echo old >only-old; chmod 700 .; touch -d @1400000000 .`;
const NEW = `mkdir -p dir/other empty2; echo new >dir/other/file; echo new >same; echo new >-rf; echo new >only-new; ln same hard; ln -s else link
  mkdir only-new-dir; echo y >.hidden; chmod 2751 .
  touch -h -d @1500000001 -- dir/other empty2 only-new-dir .hidden same ./-rf only-new dir/other/file hard link; touch -d @1500000000.5 dir .`;
/** What NEW brings itself, out of the way of its commands. */
const WIPE = 'rm -rf same ./-rf hard link .hidden;';

/** All of a directory that counts: names, types, modes, times, links, contents. */
const state = (dir: string) =>
  bash(
    `find . \\( -type d -printf '%p d %m %T@\\n' -o -printf '%p %y %m %n %s %T@ %l\\n' \\) | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r md5sum`,
    dir,
  );

interface Volume {
  root: string;
  old: string;
  wanted: string;
}

/** A root with old content and a stage with new content; what it holds, and what it shall hold in the end. */
async function prepared(how: 'replace' | 'overlay'): Promise<Volume> {
  const root = await tempDir();
  const result = await tempDir();
  await bash(OLD, root);
  const old = await state(root);
  await bash(how === 'replace' ? NEW : `cp -a ${root}/. .; ${WIPE} ${NEW}`, result);
  expect((await run(PREPARE_SCRIPT, [STAGE, 'someone', root])).exit).toBe(0);
  await bash(NEW, path.join(root, STAGE, 'new'));
  return { root, old, wanted: await state(result) };
}

describe.each(['replace', 'overlay'] as const)('%s', (how) => {
  it('gives the root the new content and its own attributes, and removes the stage', async () => {
    const { root, wanted } = await prepared(how);
    const { exit, stderr } = await run(SWAP_SCRIPT, [how, '', STAGE, root]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(await state(root)).toBe(wanted);
  });

  it('killed before or after any of its programs, and settled: all old or all new, to the root’s time', async () => {
    const { calls } = await run(SWAP_SCRIPT, [how, '', STAGE, (await prepared(how)).root]);
    expect(calls).toBeGreaterThan(10);
    const seen = { forward: 0, back: 0 };
    for (let at = 1; at <= calls; at++) {
      // After one is before the next: both only where there is time.
      for (const when of rounds(1, 2) === 1 && at > 1
        ? (['after'] as const)
        : (['before', 'after'] as const)) {
        const { root, old, wanted } = await prepared(how);
        const killed = await run(SWAP_SCRIPT, [how, '', STAGE, root], { [when]: at });
        expect(killed.exit, `killed ${when} call ${at}`).not.toBe(0);
        const { exit, stdout, stderr } = await run(SWAP_SCRIPT, ['settle', '', STAGE, root]);
        const place = `killed ${when} call ${at}: ${stderr}`;
        expect(exit, place).toBe(0);
        const now = await state(root);
        // At the very end there is no journal any more: "back" finds nothing to do, and only the root's time may be late.
        const outcome = stdout === 'forward\n' || timeless(now) === timeless(wanted) ? 'forward' : 'back';
        if (at < calls - 2) expect(now, place).toBe(outcome === 'forward' ? wanted : old);
        else expect(timeless(now), place).toBe(timeless(wanted));
        seen[outcome]++;
      }
    }
    expect(seen.forward).toBeGreaterThan(5);
    expect(seen.back).toBeGreaterThan(1);
  }, 240_000);

  it('killed again and again while it is settled, it still comes to an end', async () => {
    for (let step = 1; step <= 3; step++) {
      const { root, wanted } = await prepared(how);
      const marks = how === 'replace' ? 8 : 6;
      await run(SWAP_SCRIPT, [how, '', STAGE, root], { after: marks });
      for (let round = 0; round < 15; round++) {
        await run(SWAP_SCRIPT, ['settle', '', STAGE, root], { after: step });
      }
      expect((await run(SWAP_SCRIPT, ['settle', '', STAGE, root])).exit).toBe(0);
      expect(timeless(await state(root))).toBe(timeless(wanted));
    }
  }, 120_000);
});

/** Without the root's own time, which a kill in the very last step can spoil. */
function timeless(text: string): string {
  return text.replace(/^(\. d \d+) \S+/m, '$1');
}

it('of several volumes all go forward as soon as the first one has passed the point of no return', async () => {
  const volumes = [await prepared('replace'), await prepared('replace')];
  const roots = volumes.map(({ root }) => root);
  const { calls } = await run(SWAP_SCRIPT, ['replace', '', STAGE, ...(await both())]);
  for (let at = 1; at <= calls; at += rounds(3, 1)) {
    const pair = [await prepared('replace'), await prepared('replace')];
    const places = pair.map(({ root }) => root);
    await run(SWAP_SCRIPT, ['replace', '', STAGE, ...places], { after: at });
    expect((await run(SWAP_SCRIPT, ['settle', '', STAGE, ...places])).exit).toBe(0);
    const now = await Promise.all(places.map(async (root) => timeless(await state(root))));
    const isNew = pair.map(({ wanted }, i) => now[i] === timeless(wanted));
    const isOld = pair.map(({ old }, i) => now[i] === timeless(old));
    expect([isNew.every(Boolean), isOld.every(Boolean)], `killed after call ${at}`).toContain(true);
  }
  expect((await run(SWAP_SCRIPT, ['settle', '', STAGE, ...roots])).stdout).toBe('back\n');

  async function both(): Promise<string[]> {
    return [(await prepared('replace')).root, (await prepared('replace')).root];
  }
}, 120_000);

it('a program that writes new files meanwhile neither stops it nor gets lost when old content is kept', async () => {
  const { root, wanted } = await prepared('replace');
  await run(SWAP_SCRIPT, ['replace', 'kept', STAGE, root], { after: 9 });
  await bash('mkdir same only-new; echo late >same/late; echo late >late-file', root);
  expect((await run(SWAP_SCRIPT, ['settle', '', STAGE, root])).stdout).toBe('forward\n');
  expect(await bash('cat same only-new kept/only-old', root)).toBe('new\nnew\nold\n');
  expect(await bash('find . -name late | wc -l; test ! -e .volbak-0123456789abcdef && echo gone', root)).toBe(
    '1\ngone\n',
  );
  expect(wanted).not.toBe('');
});

it('keeps the old content whole under its name, with the old root’s mode and time', async () => {
  const { root, old } = await prepared('replace');
  expect((await run(SWAP_SCRIPT, ['replace', 'kept', STAGE, root])).exit).toBe(0);
  expect(await state(path.join(root, 'kept'))).toBe(old);
});

it('a name for old content that the new content has itself is refused, and nothing is changed', async () => {
  const { root, old } = await prepared('replace');
  expect((await run(SWAP_SCRIPT, ['replace', 'only-new', STAGE, root])).exit).toBe(94);
  expect((await run(SWAP_SCRIPT, ['settle', '', STAGE, root])).stdout).toBe('back\n');
  expect(await state(root)).toBe(old);
});

it('a journal that was tampered with is left alone', async () => {
  for (const text of ['replace\n../outside\n', 'rm\n\n', '', 'replace\n..\n']) {
    const { root } = await prepared('replace');
    writeFileSync(path.join(root, STAGE, 'swap'), text);
    expect((await run(SWAP_SCRIPT, ['settle', '', STAGE, root])).exit).toBe(1);
    expect(await bash('cat only-old', root)).toBe('old\n');
  }
});

it('attributes: the root gets those of the new content, loses its own old ones, and what was not copied is an error', async (test) => {
  const { root } = await prepared('replace');
  const set = async (dir: string, name: string) =>
    bash(`setfattr -n ${name} -v x .`, dir).then(
      () => true,
      () => false,
    );
  if (!(await set(root, 'user.old')) || !(await set(path.join(root, STAGE, 'new'), 'user.new')))
    return test.skip();
  const { exit, stdout } = await run(SWAP_SCRIPT, ['replace', '', STAGE, root]);
  expect(exit).toBe(0);
  expect(await bash("getfattr --absolute-names -m '^user' .", root)).toBe('# file: .\nuser.new\n\n');
  // What it prints is the proof: the root as it should be, and as it is.
  expect(stdout.match(/SCHILY\.xattr\.user\.new=x/g)).toHaveLength(2);
});
