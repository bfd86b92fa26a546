import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

type Operation = (this: Mutator) => string;

/** Changes a tree at random: what programs do to files, and what hides from tools that look at sizes and times. */
export class Mutator {
  readonly #root: string;
  readonly #random: () => number;
  #next = 0;
  readonly log: string[] = [];

  constructor(root: string, random: () => number) {
    this.#root = root;
    this.#random = random;
  }

  /** One operation, noted in the log. */
  step(): void {
    const operation = OPERATIONS[Math.floor(this.#random() * OPERATIONS.length)] as Operation;
    this.log.push(operation.call(this));
  }

  below(most: number): number {
    return Math.floor(this.#random() * most);
  }

  /** Bytes of a size that crosses the limits of the format: small, large, chunked. */
  content(): Buffer {
    const sizes = [0, 10, 3000, 8191, 8192, 40_000, 1_300_000];
    const bytes = Buffer.alloc(sizes[this.below(sizes.length)] as number);
    for (let i = 0; i < bytes.length; i += 7) bytes[i] = this.below(256);
    return bytes;
  }

  fresh(): string {
    const directories = ['.', ...this.all().filter((name) => lstatSync(this.at(name)).isDirectory())];
    const name = `n${this.#next++}${this.below(4) === 0 ? ' \n"ä' : ''}`;
    return path.join(directories[this.below(directories.length)] as string, name);
  }

  all(): string[] {
    return readdirSync(this.#root, { recursive: true, encoding: 'utf8' }).sort();
  }

  /** A regular file, if there is one. */
  file(): string | undefined {
    const files = this.all().filter((name) => lstatSync(this.at(name)).isFile());
    return files[this.below(files.length)];
  }

  at(name: string): string {
    return path.join(this.#root, name);
  }
}

function create(this: Mutator): string {
  const name = this.fresh();
  writeFileSync(this.at(name), this.content());
  return `create ${name}`;
}

function makeDirectory(this: Mutator): string {
  const name = this.fresh();
  mkdirSync(this.at(name));
  return `mkdir ${name}`;
}

function symlink(this: Mutator): string {
  const name = this.fresh();
  symlinkSync('n0', this.at(name));
  return `symlink ${name}`;
}

/** An operation on a file that is there; makes one where there is none. */
function onFile(what: string, change: (mutator: Mutator, name: string) => void): Operation {
  return function (this: Mutator) {
    const name = this.file();
    if (name === undefined) return create.call(this);
    change(this, name);
    return `${what} ${name}`;
  };
}

const OPERATIONS: Operation[] = [
  create,
  create,
  makeDirectory,
  symlink,
  onFile('append', (m, name) => appendFileSync(m.at(name), 'more')),
  onFile('truncate', (m, name) => truncateSync(m.at(name), m.below(statSync(m.at(name)).size + 1))),
  onFile('rename', (m, name) => renameSync(m.at(name), m.at(m.fresh()))),
  onFile('chmod', (m, name) => chmodSync(m.at(name), 0o600 + m.below(64))),
  onFile('rewrite with the same size and a restored mtime', (m, name) => {
    const { size, atime, mtime } = statSync(m.at(name));
    writeFileSync(m.at(name), Buffer.alloc(size, 65 + m.below(26)));
    utimesSync(m.at(name), atime, mtime);
  }),
  onFile('touch into the past', (m, name) => utimesSync(m.at(name), 1e9, 1e9 + m.below(1e6))),
  onFile('link', (m, name) => linkSync(m.at(name), m.at(m.fresh()))),
  onFile('unlink', (m, name) => rmSync(m.at(name))),
  onFile('swap', (m, name) => {
    const other = m.file();
    if (other === undefined || other === name) return;
    const aside = m.at('aside');
    renameSync(m.at(name), aside);
    renameSync(m.at(other), m.at(name));
    renameSync(aside, m.at(other));
  }),
  onFile('replace by a new file of that name', (m, name) => {
    rmSync(m.at(name));
    writeFileSync(m.at(name), m.content());
  }),
  function moveDirectory(this: Mutator) {
    const directories = this.all().filter((name) => lstatSync(this.at(name)).isDirectory());
    const name = directories[this.below(directories.length)];
    const to = this.fresh();
    if (name === undefined || `${to}/`.startsWith(`${name}/`)) return 'nothing';
    renameSync(this.at(name), this.at(to));
    return `move ${name} to ${to}`;
  },
  function removeDirectory(this: Mutator) {
    const directories = this.all().filter((name) => lstatSync(this.at(name)).isDirectory());
    const name = directories[this.below(directories.length)];
    if (name === undefined || this.below(3) > 0 || !existsSync(this.at(name))) return 'nothing';
    rmSync(this.at(name), { recursive: true });
    return `rm -r ${name}`;
  },
];
