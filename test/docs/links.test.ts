import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '../..');
const PAGES = ['.', 'bench', 'demo', 'docs', 'fixtures', 'recipes', 'src', 'test']
  .filter((folder) => existsSync(path.join(root, folder)))
  .flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: folder !== '.', encoding: 'utf8' }).map((file) =>
      path.posix.join(folder, file),
    ),
  )
  .filter((file) => file.endsWith('.md'))
  .sort();

/** A page without its blocks of code. */
function prose(page: string): string {
  return readFileSync(path.join(root, page), 'utf8').replace(/^(```|~~~)[\s\S]*?^\1$/gm, '');
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(page: string): Set<string> {
  const headings = [...prose(page).matchAll(/^#{1,6} (.+)$/gm)].map((match) => match[1] as string);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replace(/ /g, '-'),
    ),
  );
}

function broken(page: string): string[] {
  const links = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] as string);
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [file = '', anchor] = link.split('#');
    const target = file === '' ? page : path.posix.join(path.posix.dirname(page), decodeURI(file));
    if (target.startsWith('..') || !existsSync(path.join(root, target))) return true;
    if (anchor === undefined || !statSync(path.join(root, target)).isFile()) return false;
    return !anchors(target).has(anchor);
  });
}

describe('links between pages', () => {
  it('finds the pages', () => {
    expect(PAGES).toEqual(expect.arrayContaining(['README.md', 'docs/format.md', 'docs/errors.md']));
  });

  it.each(PAGES)('%s: every relative link and anchor leads somewhere', (page) => {
    expect(broken(page)).toEqual([]);
  });
});

describe('README.md', () => {
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');

  it('names the two commands for a fresh machine', () => {
    expect(readme).toMatch(/^npm run demo$/m);
    expect(readme).toMatch(/^npm test$/m);
  });

  it('leads to every page of docs', () => {
    const pages = PAGES.filter((page) => page.startsWith('docs/') && !page.startsWith('docs/adr/'));
    expect(pages.filter((page) => !readme.includes(`](${page})`))).toEqual([]);
  });
});
