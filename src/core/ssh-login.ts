import { readFile } from 'node:fs/promises';
import type { AnyAuthMethod } from 'ssh2';
import { messageOf, VolbakError } from './errors.ts';

type Ssh2 = typeof import('ssh2');

/** Who logs in and with what. */
export interface SshIdentity {
  user: string;
  /** A key file that was named on purpose; the default ones are not tried then. */
  keyFile?: string | undefined;
  agentSocket?: string | undefined;
  defaultKeyFiles: readonly string[];
}

/** How to log in, in the order to try. */
export interface Logins {
  methods: AnyAuthMethod[];
  /** In words, for the error message. */
  tried: string[];
  skipped: string[];
}

/** The ways to log in: the key named on purpose, the agent, the default keys. */
export async function loginMethods(ssh2: Ssh2, identity: SshIdentity): Promise<Logins> {
  const username = identity.user;
  const logins: Logins = { methods: [{ type: 'none', username }], tried: [], skipped: [] };
  const add = (key: Buffer | string, file: string) => {
    logins.methods.push({ type: 'publickey', username, key });
    logins.tried.push(file);
  };
  if (identity.keyFile) add(await namedKey(ssh2, identity.keyFile), identity.keyFile);
  if (identity.agentSocket) {
    logins.methods.push({ type: 'agent', username, agent: identity.agentSocket });
    logins.tried.push('ssh-agent');
  }
  for (const file of identity.keyFile ? [] : identity.defaultKeyFiles) {
    const key = await readFile(file).catch(() => undefined);
    if (!key) continue;
    const parsed = ssh2.utils.parseKey(key);
    if (parsed instanceof Error) logins.skipped.push(`${file} (${reasonOf(parsed)})`);
    else add(key, file);
  }
  return logins;
}

async function namedKey(ssh2: Ssh2, file: string): Promise<Buffer> {
  const key = await readFile(file).catch((cause) => {
    throw new VolbakError('CONFIG', `The ssh key ${file} cannot be read: ${messageOf(cause)}`, {
      hint: 'It is named by ?key= in the address.',
      cause,
    });
  });
  const parsed = ssh2.utils.parseKey(key);
  if (parsed instanceof Error) {
    throw new VolbakError('CONFIG', `The ssh key ${file} cannot be used: ${reasonOf(parsed)}.`, {
      hint: 'A key with a passphrase goes through ssh-agent: ssh-add it.',
      cause: parsed,
    });
  }
  return key;
}

function reasonOf(error: Error): string {
  return /encrypted|passphrase/i.test(error.message) ? 'it has a passphrase' : error.message;
}
