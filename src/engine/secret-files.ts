import type Dockerode from 'dockerode';
import { VolbakError } from '../core/errors.ts';
import { engineError } from './helper.ts';

/** Where secrets lie in a container, as Docker's own do. */
export const SECRETS_DIRECTORY = '/run/secrets';

/**
 * Puts secrets into a container that was not started yet, as files that any user in it can read: never as arguments,
 * labels or environment. They go with the container. Raises USAGE where a mount would take them into a volume.
 */
export async function putSecrets(
  container: Dockerode.Container,
  secrets: ReadonlyMap<string, Buffer>,
): Promise<void> {
  if (secrets.size === 0) return;
  try {
    const { Mounts } = await container.inspect();
    const over = Mounts.find(({ Destination: at }) => isOver(at));
    if (over) {
      throw new VolbakError(
        'USAGE',
        `secrets cannot be given: the container mounts something at ${over.Destination}, and they would be written there`,
        { hint: 'Give them with --env-file instead; `docker inspect` shows them while the handler runs.' },
      );
    }
    await container.putArchive(await packSecrets(secrets), { path: '/' });
  } catch (error) {
    throw engineError(error, 'cannot give the container its secrets');
  }
}

function isOver(destination: string): boolean {
  return (
    destination === '/' ||
    SECRETS_DIRECTORY === destination ||
    SECRETS_DIRECTORY.startsWith(`${destination}/`) ||
    destination.startsWith(`${SECRETS_DIRECTORY}/`) ||
    destination === '/var/run'
  );
}

async function packSecrets(secrets: ReadonlyMap<string, Buffer>): Promise<Buffer> {
  const { pack } = await import('tar-stream');
  const tar = pack();
  tar.entry({ name: 'run/secrets/', type: 'directory', mode: 0o755 });
  for (const [name, content] of secrets) tar.entry({ name: `run/secrets/${name}`, mode: 0o444 }, content);
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar as unknown as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}
