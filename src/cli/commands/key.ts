import type { Command } from 'commander';
import { VolbakError } from '../../core/errors.ts';
import type { KeySlots } from '../../repository/key-slots.ts';
import { collect } from '../options.ts';
import type { Register } from '../program.ts';
import { table } from '../render/table.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  encryptTo: string[];
  passphrase?: boolean;
  name?: string;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('key')
    .description(
      'who can read an encrypted repository: list, add or remove keys; print the one that hides names',
    )
    .argument('[action]', 'list, add, remove or names', 'list')
    .argument('[name]', 'the key to remove')
    .option('--encrypt-to <recipient>', 'add: an age recipient, age1… (repeatable)', collect, [])
    .option('--passphrase', 'add: the passphrase in VOLBAK_NEW_PASSPHRASE or VOLBAK_NEW_PASSPHRASE_FILE')
    .option('--name <name>', 'add: what to call the key');
  register(command, async (runtime, [action = 'list', name], options) => {
    if (action === 'list') return list(runtime);
    if (action === 'add') return add(runtime, options as unknown as Options);
    if (action === 'remove') return remove(runtime, name);
    if (action === 'names') return names(runtime);
    throw new VolbakError('USAGE', `key knows list, add, remove and names, not '${action}'`);
  });
}

/** The keys of the repository, which must be encrypted. To add one it must be open. */
async function openSlots(runtime: Runtime): Promise<{ slots: KeySlots; id: string; recipient: string }> {
  const { KeySlots } = await import('../../repository/key-slots.ts');
  const { descriptor } = await runtime.repository('append');
  const { encryption, id } = descriptor;
  const store = await runtime.store();
  if (!encryption)
    throw new VolbakError('REPOSITORY_INVALID', `the repository in ${store.label} is not encrypted`, {
      hint: '`volbak init --encrypt-to` makes one that is; `volbak copy --all --to` fills it.',
    });
  return { slots: new KeySlots(store), id, recipient: encryption.recipient };
}

async function list(runtime: Runtime): Promise<number> {
  const { slots, recipient } = await openSlots(runtime);
  const keys = await slots.list();
  const writer = await ownWriter(runtime);
  const writers = (await (await runtime.pin(await runtime.store(), runtime.location)).read())?.writers ?? [];
  runtime.output.document({
    recipient,
    keys: keys.map(({ name, kind, added }) => ({ name, kind, added: added.toISOString() })),
    writer,
    knownWriters: writers,
  });
  runtime.output.line(`encrypted to      ${recipient}`);
  runtime.output.line(`this writer       ${writer}`);
  for (const known of writers.filter((known) => known !== writer))
    runtime.output.line(`known writer      ${known}`);
  const rows = keys.map(({ name, kind, added }) => [name, kind, added.toISOString().slice(0, 19)]);
  for (const line of table(['KEY', 'KIND', 'ADDED'], rows)) runtime.output.line(line);
  return 0;
}

/** Prints the key that hides names: a host that backs up needs it. */
async function names(runtime: Runtime): Promise<number> {
  const { NamesKeyFile } = await import('../../repository/names-key.ts');
  const { descriptor } = await runtime.repository('append');
  const key = descriptor.encryption?.names
    ? await new NamesKeyFile(runtime.environment.stateDirectory, descriptor.id).read()
    : undefined;
  if (key === undefined)
    throw new VolbakError('REPOSITORY_INVALID', 'this repository does not hide names', {
      hint: '`volbak init --encrypt-to … --opaque-names` makes one that does.',
    });
  runtime.output.document({ namesKey: key.trim() });
  runtime.output.line(key.trim());
  return 0;
}

/** What other machines know this one's snapshots by. */
async function ownWriter(runtime: Runtime): Promise<string> {
  const { loadWriterKey } = await import('../../repository/writer-key.ts');
  const { writerOf } = await import('../../repository/signature.ts');
  return writerOf(await loadWriterKey(runtime.environment.stateDirectory));
}

async function add(runtime: Runtime, { encryptTo, passphrase, name }: Options): Promise<number> {
  const count = encryptTo.length + (passphrase ? 1 : 0);
  if (count === 0 || (name !== undefined && count > 1))
    throw new VolbakError(
      'USAGE',
      'key add takes --encrypt-to or --passphrase, and one of them with --name',
      {
        hint: 'volbak key add --encrypt-to age1…',
      },
    );
  const [{ assertRecipients }, { readPassphrase }] = await Promise.all([
    import('../../jobs/open/init.ts'),
    import('../../config/secrets.ts'),
  ]);
  await assertRecipients(encryptTo);
  const secret = passphrase ? await readPassphrase(runtime.environment.newPassphrase) : undefined;
  if (passphrase && secret === undefined)
    throw new VolbakError(
      'USAGE',
      'the new passphrase is to be in VOLBAK_NEW_PASSPHRASE or VOLBAK_NEW_PASSPHRASE_FILE',
    );
  const { slots, id, recipient } = await openSlots(runtime);
  const identity = await unlock(runtime, slots, recipient);
  const holders = [
    ...encryptTo.map((to) => ({ recipient: to })),
    ...(secret === undefined ? [] : [{ passphrase: secret }]),
  ];
  const added: string[] = [];
  for (const holder of holders) added.push(await slots.add(identity, id, holder, name));
  for (const key of added) runtime.output.line(`added key ${key}: it opens all there is and all to come`);
  runtime.output.document({ added });
  return 0;
}

/** Raises WRONG_KEY. */
async function unlock(runtime: Runtime, slots: KeySlots, recipient: string): Promise<string> {
  const identity = await slots.unlock(await runtime.secrets(), { scheme: 'age', recipient });
  if (identity !== undefined) return identity;
  throw new VolbakError('WRONG_KEY', 'only who can open the repository can let others in', {
    hint: 'Name an identity with VOLBAK_IDENTITY_FILE, or a passphrase with VOLBAK_PASSPHRASE_FILE.',
  });
}

async function remove(runtime: Runtime, name: string | undefined): Promise<number> {
  if (name === undefined)
    throw new VolbakError('USAGE', 'which key is to be removed?', { hint: '`volbak key list` shows all.' });
  const { slots } = await openSlots(runtime);
  await slots.remove(name);
  runtime.output.line(`removed key ${name}`);
  runtime.output.emit({
    event: 'warning',
    message: `whoever could open ${name} may have kept the repository's own key, and can then read all there is and all to come; only a new repository keeps them out`,
  });
  runtime.output.document({ removed: name });
  return 0;
}
