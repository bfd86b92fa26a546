import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import type { IndexMember } from '../../src/core/member.ts';
import { GEAR } from '../../src/repository/chunker.ts';
import { memberLine, parseIndexLine } from '../../src/repository/index-lines.ts';
import { digestLine, VolumeDigest } from '../../src/tar/digest.ts';
import { pathHash } from '../../src/tar/names.ts';
import { tempDir } from '../support/temp.ts';

const run = promisify(execFile);
const ROOT = path.join(import.meta.dirname, '../..');
const HEX64 = /^ {4}([0-9a-f]{64})$/m;

let doc: string;

/** The text of a section, its subsections included. */
function section(title: string): string {
  const start = doc.search(new RegExp(`^#+ ${title}$`, 'm'));
  expect(start, `section "${title}"`).toBeGreaterThanOrEqual(0);
  const heading = doc.slice(start).split('\n', 1)[0] as string;
  const rest = doc.slice(start + heading.length);
  const end = rest.search(new RegExp(`^#{1,${heading.indexOf(' ')}} `, 'm'));
  return end < 0 ? rest : rest.slice(0, end);
}

function indexLines(): string[] {
  return [...section('Index').matchAll(/^ {4}(\{.*\})$/gm)].map((match) => match[1] as string);
}

function exampleMembers(): IndexMember[] {
  return indexLines().flatMap((line) => {
    const parsed = parseIndexLine(line);
    return parsed.kind === 'member' ? [parsed.member] : [];
  });
}

beforeAll(async () => {
  doc = await readFile(path.join(ROOT, 'docs/format.md'), 'utf8');
});

describe('docs/format.md', () => {
  it('names every field of a manifest', async () => {
    const source = await readFile(path.join(ROOT, 'src/repository/manifest.ts'), 'utf8');
    const schema = source.slice(source.indexOf('const warning ='), source.indexOf('export type Manifest ='));
    const keys = [...schema.matchAll(/(?:^|[{,])\s*(\w+):\s/gm)].map((match) => match[1] as string);
    expect(keys).toEqual(expect.arrayContaining(['id', 'composeService', 'version', 'index', 'suspects']));
    const text = section('Manifest');
    const unnamed = keys.filter((key) => !new RegExp(`\`(?:\\w+\\.)?${key}\``).test(text));
    expect(unnamed).toEqual([]);
  });

  it('has an index that is read and written alike', () => {
    const lines = indexLines();
    const kinds = lines.map((line) => parseIndexLine(line).kind);
    expect(kinds).toEqual(['head', 'frame', ...Array(6).fill('member'), 'frame']);
    const members = exampleMembers();
    expect(members.map(memberLine)).toEqual(lines.slice(2, 8));
    const tarBytes = lines.reduce((sum, line) => {
      const parsed = parseIndexLine(line);
      return parsed.kind === 'frame' ? sum + parsed.frame[3] : sum;
    }, 0);
    expect(members.reduce((sum, { span }) => sum + span, 0) + 1024).toBe(tarBytes);
  });

  it('names every key of an index line', () => {
    const text = section('Index');
    const all: Required<IndexMember> = {
      ...(exampleMembers()[3] as Required<IndexMember>),
      path: './\xff',
      link: '\xff',
      device: '1:3',
      suspect: true,
    };
    const keys = new Set(
      [all, { ...all, path: '.', link: '.' }].flatMap((m) => Object.keys(JSON.parse(memberLine(m)))),
    );
    expect([...keys].filter((key) => !text.includes(`\`${key}\``))).toEqual([]);
  });

  it("has a digest's example that the code computes", () => {
    const members = exampleMembers();
    const records = /```text\n([^`]*)```/.exec(section('Example'))?.[1]?.trimEnd().split('\n');
    const readable = members.map((m) => digestLine(m).toString('latin1').replaceAll('\0', '\\0'));
    expect(records).toEqual(readable);
    const digest = new VolumeDigest();
    for (const member of members) digest.add(member);
    expect(HEX64.exec(section('Example'))?.[1]).toBe(digest.digest());
    const attributes = /`(user\.note=0x[0-9a-f]+)`/.exec(section('Example'))?.[1];
    expect(createHash('sha256').update(`${attributes}\n`).digest('hex')).toBe(members[3]?.xattrs);
  });

  it.runIf(process.getuid?.() === 0)(
    "has an example that the recipe finds, made by the example's commands",
    async () => {
      const commands = /```sh\n([^`]*)```/.exec(section('Example'))?.[1] as string;
      const cwd = await tempDir();
      await run(path.join(ROOT, 'test/support/packages.sh'), ['setfattr=attr', 'getfattr=attr']);
      await run('bash', ['-euc', commands], { cwd });
      const { stdout } = await run(path.join(ROOT, 'recipes/digest.sh'), ['tree'], { cwd });
      expect(stdout.trim()).toBe(HEX64.exec(section('Example'))?.[1]);
    },
  );

  it('has the hashes of paths and the gear table of the code', () => {
    const hex = (n: number) => (n >>> 0).toString(16).padStart(8, '0');
    const paths = [...section('Hash of a path').matchAll(/`(\.[^`]*)` gives ([0-9a-f]{8})/g)];
    expect(paths).toHaveLength(2);
    for (const [, name, value] of paths) expect(hex(pathHash(name as string))).toBe(value);
    const gear = [GEAR[0], GEAR[1], GEAR[2], GEAR[255]].map((n) => hex(n as number));
    expect(section('Chunks')).toContain(
      `begins with ${gear[0]}, ${gear[1]}, ${gear[2]} and ends with ${gear[3]}`,
    );
  });
});
