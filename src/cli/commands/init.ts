import type { Command } from 'commander';
import { VolbakError } from '../../core/errors.ts';
import { collect } from '../options.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  encryptTo: string[];
  passphrase?: boolean;
  opaqueNames?: boolean;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('init')
    .description('make a repository, encrypted where it is said to whom')
    .option('--encrypt-to <recipient>', 'who can read it: an age recipient, age1… (repeatable)', collect, [])
    .option(
      '--passphrase',
      'whoever knows VOLBAK_PASSPHRASE or what is in VOLBAK_PASSPHRASE_FILE can read it',
    )
    .option('--opaque-names', 'hide names of hosts, containers and volumes in the keys of an encrypted one');
  register(command, (runtime, _, options) => run(runtime, options as unknown as Options));
}

async function run(runtime: Runtime, options: Options): Promise<number> {
  const holders = await keyHolders(runtime, options);
  if (options.opaqueNames && holders.length === 0)
    throw new VolbakError('USAGE', '--opaque-names is for encrypted repositories', {
      hint: 'Say to whom: --encrypt-to age1…, or --passphrase.',
    });
  const [{ readDescriptor }, { Repository }, { planEncryption }, { refuseNewInPlaceOfEncrypted }] =
    await Promise.all([
      import('../../repository/descriptor.ts'),
      import('../../repository/repository.ts'),
      import('../../jobs/open/init.ts'),
      import('../../jobs/open/access.ts'),
    ]);
  const store = await runtime.store();
  const there = (await readDescriptor(store)) !== undefined;
  if (there && holders.length > 0) throw alreadyThere(store.label);
  if (!there && holders.length === 0)
    await refuseNewInPlaceOfEncrypted(await runtime.pin(store, runtime.location));
  const hideNames = options.opaqueNames ? { stateDirectory: runtime.environment.stateDirectory } : undefined;
  const plan = holders.length > 0 ? await planEncryption(store, holders, hideNames) : undefined;
  const access = await runtime.access(store, runtime.location, 'write');
  const { repository, created } = await Repository.openOrInit(store, runtime.env.clock.now(), access, plan);
  if (!created && plan) throw alreadyThere(store.label);
  const { id, encryption } = repository.descriptor;
  runtime.output.line(
    created
      ? `made ${encryption ? 'encrypted ' : ''}repository ${id} in ${store.label}`
      : `repository ${id} was there already in ${store.label}`,
  );
  const keys = plan?.names ?? [];
  if (plan && encryption)
    for (const line of recoveryKit(id, encryption.recipient, keys)) runtime.output.line(line);
  runtime.output.summary('init', 0, {
    repository: store.label,
    id,
    created,
    ...(encryption ? { recipient: encryption.recipient } : {}),
    ...(plan ? { keys } : {}),
  });
  return 0;
}

async function keyHolders(runtime: Runtime, { encryptTo, passphrase }: Options) {
  const { assertRecipients } = await import('../../jobs/open/init.ts');
  if (encryptTo.length > 0) await assertRecipients(encryptTo);
  const holders: ({ recipient: string } | { passphrase: string })[] = encryptTo.map((recipient) => ({
    recipient,
  }));
  if (!passphrase) return holders;
  const secret = (await runtime.secrets()).passphrase;
  if (secret === undefined)
    throw new VolbakError('USAGE', '--passphrase needs one in VOLBAK_PASSPHRASE or VOLBAK_PASSPHRASE_FILE', {
      hint: 'The file holds it in one line; only you should be able to read it.',
    });
  return [...holders, { passphrase: secret }];
}

function alreadyThere(label: string): VolbakError {
  return new VolbakError('REPOSITORY_INVALID', `there is a repository in ${label} already`, {
    hint: 'Who may read an encrypted one is said by `volbak key add`. One that is not encrypted stays so: make another, and `volbak copy --all --to` it.',
  });
}

/** What to keep, and how to read without volbak. No secret is in it. */
function recoveryKit(id: string, recipient: string, keys: readonly string[]): string[] {
  const open = keys.map((name) =>
    name.startsWith('passphrase')
      ? `  age -d keys/${name}.age > repository.key                          (asks for the passphrase)`
      : `  age -d -i <your identity file> keys/${name}.age > repository.key`,
  );
  return [
    '',
    'RECOVERY KIT: keep this text and what is named in it away from the store.',
    `  repository   ${id}`,
    `  public key   ${recipient}`,
    `  opened by    ${keys.map((name) => `keys/${name}.age`).join(', ')}`,
    'Keep 1. the identity file or the passphrase, and 2. a copy of the keys/ directory: it is of no use without the first.',
    'Without either of them nobody can read the backups, and nobody can help.',
    'With plain age, without volbak:',
    ...open,
    '  age -d -i repository.key <any object>.age',
    'or recipes/restore-without-volbak.sh --identity <your identity file or repository.key> …',
  ];
}
