import { messageOf, VolbakError } from '../../core/errors.ts';
import type { EventSink } from '../../core/events.ts';
import { formatNamesKey, NAMES_KEY_OBJECT, NamesKeyFile } from '../../repository/names-key.ts';
import { NAMES_KEY, namesKeyHash } from '../../store/opaque.ts';
import type { Store } from '../../store/store.ts';

export interface NamesOptions {
  stateDirectory: string;
  repositoryId: string;
  /** What the descriptor says of the key. */
  hash: string;
  /** From the environment. */
  given: string | undefined;
  /** The encrypted repository, where it can be read. */
  readable: Store | undefined;
  label: string;
  emit: EventSink;
}

/**
 * The key that hides names: from the environment, this machine's state directory, or the repository itself, and kept for
 * the next time. Raises WRONG_KEY where there is none or it is another repository's.
 */
export async function findNamesKey(options: NamesOptions): Promise<Buffer> {
  const file = new NamesKeyFile(options.stateDirectory, options.repositoryId);
  if (options.given !== undefined) {
    const given = parse(options.given, options.hash);
    if (!given) throw wrong(options, 'the key for names that was given is not the one of this repository');
    return keep(given, file, options);
  }
  const known = parse((await file.read()) ?? '', options.hash);
  if (known) return known;
  if (!options.readable)
    throw wrong(options, 'names in this repository are hidden, and no key for them was given');
  // Anybody can encrypt to the repository: only the descriptor says which key is the right one.
  const stored = parse((await options.readable.get(NAMES_KEY_OBJECT)).toString('utf8'), options.hash);
  if (!stored) throw wrong(options, `${NAMES_KEY_OBJECT}.age is not the key that the descriptor names`);
  return keep(stored, file, options);
}

function parse(text: string, hash: string): Buffer | undefined {
  const key = Buffer.from(text.trim(), 'base64');
  return key.length === NAMES_KEY && namesKeyHash(key) === hash ? key : undefined;
}

async function keep(key: Buffer, file: NamesKeyFile, { emit }: NamesOptions): Promise<Buffer> {
  try {
    await file.write(formatNamesKey(key));
  } catch (error) {
    emit({
      event: 'warning',
      message: `the key for names cannot be kept for the next time: ${messageOf(error)}`,
    });
  }
  return key;
}

function wrong({ label }: NamesOptions, what: string): VolbakError {
  return new VolbakError('WRONG_KEY', `${label}: ${what}`, {
    hint: '`volbak key names`, where the repository can be read, prints it; VOLBAK_NAMES_KEY_FILE names a file with it.',
  });
}
